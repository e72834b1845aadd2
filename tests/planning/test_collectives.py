"""Collectives read from a program's text, and of programs that JAX compiles here."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from dignified_jax.planning.collectives import Collective, collectives, table
from dignified_jax.training.step import sharding

# ruff: noqa: E501  (lines as XLA writes them)
PROGRAM = """
HloModule step

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%body (arguments: (s32[], f32[2,8])) -> (s32[], f32[2,8]) {
  %gathered = bf16[8,16]{1,0} all-gather(%w), replica_groups=[2,4]<=[8], dimensions={0}
  %pair = (bf16[4,8]{1,0}, bf16[4,8]{1,0}) collective-permute-start(%x), source_target_pairs={{0,1},{1,0}}
  %scattered = f32[2,8]{1,0} reduce-scatter(%g), channel_id=2, replica_groups=[4,2]<=[2,4]T(1,0), to_apply=%add
}

%condition (arguments: (s32[], f32[2,8])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (p: f32[2,8]) -> f32[] {
  %loop = (s32[], f32[2,8]) while(%start), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"36"}}
  ROOT %norm = f32[4]{0} all-reduce(%partial), replica_groups={{0,1,2,3,4,5,6,7}}, to_apply=%add
}
"""


def test_kind_axes_bytes_and_count_are_read():
    found = collectives(PROGRAM, {"data": 2, "fsdp": 4})
    assert found == [
        Collective("all-gather", ("fsdp",), 4, "bf16", 8 * 16 * 2, 36),
        Collective("collective-permute", ("fsdp",), 2, "bf16", 4 * 8 * 2, 36),
        Collective("reduce-scatter", ("data",), 2, "f32", 2 * 2 * 8 * 4, 36),
        Collective("all-reduce", ("data", "fsdp"), 8, "f32", 16, 1),
    ]
    assert found[0].received_bytes == 36 * 256 * 3 / 4
    assert found[-1].received_bytes == 2 * 16 * 7 / 8
    assert "| all-gather | fsdp | 4 | bf16 | 0.000 | 36 | 0.007 |" in table(found)


def test_a_loop_whose_length_is_not_told_ends_where_its_condition_says():
    untold = PROGRAM.replace(', backend_config={"known_trip_count":{"n":"36"}}', "")
    assert collectives(untold, {"data": 2, "fsdp": 4})[0].count == 1
    bounded = untold.replace("  ROOT %less", "  %n = s32[]{:T(128)} constant(12)\n  ROOT %less")
    assert collectives(bounded, {"data": 2, "fsdp": 4})[0].count == 12


def test_the_copies_of_one_collective_in_fusions_are_one():
    line = next(text for text in PROGRAM.splitlines() if "%scattered" in text)
    fusions = "\n".join(
        f"%fused.{n} (w: f32[2,8]) -> f32[2,8] {{\n{line.replace('%scattered', f'%part.{n}')}\n}}\n"
        for n in range(3)
    )
    calls = "\n".join(f"  %f.{n} = f32[2,8] fusion(%g), calls=%fused.{n}" for n in range(3))
    copies = PROGRAM.replace("%body (", f"{fusions}\n%body (").replace(line, calls)
    expected = collectives(PROGRAM, {"data": 2, "fsdp": 4})
    assert collectives(copies, {"data": 2, "fsdp": 4}) == expected
    # Elsewhere channels tell nothing apart: JAX gives the same one to all.
    twice = PROGRAM.replace(line, f"{line}\n{line.replace('%scattered', '%again')}")
    found = collectives(twice, {"data": 2, "fsdp": 4})
    assert next(one.count for one in found if one.kind == "reduce-scatter") == 72


def test_devices_that_the_mesh_does_not_have_are_refused():
    with pytest.raises(ValueError, match="expected devices of a mesh of 2"):
        collectives(PROGRAM, {"fsdp": 2})


def test_a_program_compiled_here_has_what_it_was_told_to_have():
    mesh = sharding.make_mesh(sharding.MeshConfig(data=2, fsdp=4), jax.devices()[:8])

    def scanned(weights, x):
        def layer(carry, weight):
            whole = jax.lax.all_gather(weight, "fsdp", axis=0, tiled=True)
            return carry @ whole, None

        y, _ = jax.lax.scan(layer, x, weights)
        return jax.lax.psum(jnp.sum(y), ("data", "fsdp"))

    step = jax.shard_map(
        scanned, mesh=mesh, in_specs=(P(None, "fsdp"), P()), out_specs=P(), check_vma=False
    )
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((3, 16, 16), (2, 16))]
    program = jax.jit(step).lower(*shapes).compile().as_text()
    assert collectives(program, mesh.shape) == [
        Collective("all-gather", ("fsdp",), 4, "f32", 16 * 16 * 4, 3),
        Collective("all-reduce", ("data", "fsdp"), 8, "f32", 4, 1),
    ]
