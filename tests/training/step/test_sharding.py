"""The mesh: which sizes are possible, and what then lies on each device."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import mesh_utils
from jax.sharding import PartitionSpec

from dignified_jax.models import hf, partition
from dignified_jax.objectives import LagDPO
from dignified_jax.training.step import local, sharding
from dignified_jax.training.step.optimizer import OptimizerConfig, make_optimizer
from dignified_jax.training.step.sharding import MeshConfig, make_mesh
from dignified_jax.training.step.state import init_state
from tests.oracles import hf_models


def test_fsdp_takes_what_the_others_leave():
    assert dict(make_mesh(MeshConfig()).shape) == {"data": 1, "fsdp": 8, "tensor": 1}
    mesh = make_mesh(MeshConfig(data=2, tensor=2))
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "tensor": 2}
    assert sharding.row_devices(mesh) == 4
    assert sharding.tensor_parallel(mesh).size == 2


@pytest.mark.parametrize("sizes", [(3, None, 1), (2, 2, 1), (1, None, 3), (4, None, 4)])
def test_sizes_that_do_not_make_the_devices_are_refused(sizes):
    with pytest.raises(ValueError, match=r"mesh\.data x mesh\.fsdp x mesh\.tensor = .* 8 devices"):
        make_mesh(MeshConfig(*sizes))


@pytest.mark.parametrize("name", ["data", "fsdp", "tensor"])
def test_sizes_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"mesh.{name} must be at least 1, found 0"):
        MeshConfig(**{name: 0})


def test_a_tensor_group_stays_in_one_process(monkeypatch):
    """Four devices of two processes each, in groups of two and of four."""
    devices = np.array([types.SimpleNamespace(process_index=i // 2) for i in range(4)])
    made = []

    def make(shape, *_, **__):
        made.append(shape)
        return types.SimpleNamespace(devices=devices.reshape(shape))

    monkeypatch.setattr(jax, "make_mesh", make)
    make_mesh(MeshConfig(fsdp=2, tensor=2), list(devices))
    with pytest.raises(ValueError, match=r"mesh.tensor=4: .* of processes \[0, 1\]"):
        make_mesh(MeshConfig(fsdp=1, tensor=4), list(devices))
    assert made == [(1, 2, 2), (1, 1, 4)]


class FakeTpu:
    """A chip of a v5p slice of 2 x 2 x 1."""

    platform, device_kind = "tpu", "TPU v5p"

    def __init__(self, slice_index, place):
        self.slice_index, self.core_on_chip = slice_index, 0
        self.coords = (place % 2, place // 2, 0)
        self.process_index, self.id = slice_index, 4 * slice_index + place

    def __repr__(self):
        return f"{self.slice_index}/{self.coords}"


@pytest.mark.parametrize("sizes", [(2, 4, 1), (4, 2, 1), (4, 1, 2), (2, 2, 2)])
def test_slices_hold_whole_replicas_as_in_a_hybrid_mesh(sizes, monkeypatch):
    """`data` goes over slices first; all other axes stay in one, as JAX's own function has it."""
    devices = [FakeTpu(number % 2, number // 2) for number in range(8)]
    monkeypatch.setattr(
        sharding, "Mesh", lambda found, *_, **__: types.SimpleNamespace(devices=found)
    )
    found = make_mesh(MeshConfig(*sizes, slices=2), devices).devices
    inside = (sizes[0] // 2, *sizes[1:])
    expected = mesh_utils.create_hybrid_device_mesh(inside, (2, 1, 1), devices)
    assert found.tolist() == expected.tolist()
    assert [{d.slice_index for d in half.flat} for half in np.split(found, 2)] == [{0}, {1}]


def place(process, number, **said):
    return types.SimpleNamespace(process_index=process, id=number, **said)


def test_devices_that_say_nothing_are_split_by_process():
    devices = [place(n // 2, n) for n in range(8)]
    halves = sharding.split_slices(devices[::-1], 2)
    assert [[d.id for d in half] for half in halves] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    alone = sharding.split_slices([place(0, n) for n in range(4)], 2)
    assert [[d.id for d in half] for half in alone] == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match=r"mesh.slices=3: 8 devices of 4 processes can't be split"):
        sharding.split_slices(devices, 3)
    with pytest.raises(ValueError, match=r"mesh.slices=8: 8 devices of 4 processes can't be split"):
        sharding.split_slices(devices, 8)
    with pytest.raises(ValueError, match=r"mesh.slices=2: the devices are of 4 slices"):
        sharding.split_slices([place(n, n, slice_index=n) for n in range(4)], 2)
    with pytest.raises(ValueError, match=r"mesh.data=3 must be a multiple of mesh.slices=2"):
        make_mesh(MeshConfig(data=3, slices=2))


def test_a_mesh_of_slices_on_devices_that_are_there():
    mesh = make_mesh(MeshConfig(data=4, fsdp=2, slices=2))
    assert dict(mesh.shape) == {"data": 4, "fsdp": 2, "tensor": 1}
    first = {device.id for device in mesh.devices[:2].flat}
    assert first == {device.id for device in jax.devices()[:4]}


@pytest.mark.parametrize(("sizes", "parts"), [((1, 8, 1), 8), ((2, 2, 2), 4), ((4, 1, 2), 2)])
def test_bytes_of_the_state_on_each_device(sizes, parts, tmp_path, capsys):
    """Parameters and moments are divided by fsdp x tensor but for the norm scales."""
    hf_models.build("qwen3", vocab_size=136).save_pretrained(tmp_path)
    mesh = make_mesh(MeshConfig(*sizes))
    _, params = hf.load(tmp_path, mesh=mesh)
    shapes = {partition.path_name(p): x.nbytes for p, x in jax.tree.leaves_with_path(params)}
    scales = sum(size for name, size in shapes.items() if name.endswith("scale"))
    matrices = sum(shapes.values()) - scales
    state = init_state(params, LagDPO(), 4, make_optimizer(OptimizerConfig(), 5), mesh)
    held = {device: 0 for device in mesh.devices.flat}
    for leaf in jax.tree.leaves((state.params, state.opt_state)):
        for shard in leaf.addressable_shards if leaf.ndim else ():
            held[shard.device] += shard.data.nbytes
    print(f"bytes per device on {sizes}: {sorted(held.values())}")
    assert set(held.values()) == {3 * (matrices // parts + scales)}  # and two moments


def spec(name, mesh, shape):
    *path, leaf = (types.SimpleNamespace(key=part) for part in ("layers", *name.split("/")))
    return tuple(partition.partition_spec((*path, leaf), shape, mesh))


@pytest.mark.parametrize("name", ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"])
def test_lora_of_matrices_split_by_output(name):
    """A is whole on each device of `tensor`, and B split with the outputs."""
    mesh = make_mesh(MeshConfig(1, 4, 2))
    assert spec(f"{name}/lora_a", mesh, (3, 8, 2)) == (None, "fsdp")
    assert spec(f"{name}/lora_b", mesh, (3, 2, 8)) == (None, None, ("tensor", "fsdp"))
    with pytest.raises(ValueError, match=r"lora_b has 12 entries, not a multiple of tensor x fsdp"):
        spec(f"{name}/lora_b", mesh, (3, 2, 12))


@pytest.mark.parametrize("name", ["o_proj", "down_proj"])
def test_lora_of_matrices_split_by_input(name):
    """A is split with the inputs, and B whole on each device of `tensor`."""
    mesh = make_mesh(MeshConfig(1, 4, 2))
    assert spec(f"{name}/lora_a", mesh, (3, 8, 2)) == (None, ("tensor", "fsdp"))
    assert spec(f"{name}/lora_b", mesh, (3, 2, 8)) == (None, None, "fsdp")


def test_a_layer_is_cast_exactly_and_its_gradient_stays_wide():
    """On one device, where nothing is gathered: the cast of every weight, bit for bit."""
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    wide = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    wide.flat[:4] = 0.0, 1e-37, 3e38, 1.0 + 2**-9  # small, large, between two
    layer = {"mlp": {"up_proj": {"kernel": wide}}, "norm": {"scale": wide[0]}}

    def cast(layer):
        found = sharding.gather_layer(layer, jnp.bfloat16)
        return found["mlp"]["up_proj"]["kernel"], found["norm"]["scale"]

    def pulled(layer, cotangents):
        (kernel, scale), vjp = jax.vjp(cast, layer)
        return kernel, scale, vjp(cotangents)[0]

    cotangents = jnp.full((6, 4), 1.0 + 2**-7, jnp.bfloat16), wide[0]
    run = local.shard_map(pulled, mesh, (PartitionSpec(), PartitionSpec()), PartitionSpec())
    kernel, scale, gradient = jax.jit(run)(layer, cotangents)
    np.testing.assert_array_equal(kernel, wide.astype(jnp.bfloat16))
    np.testing.assert_array_equal(scale, wide[0])
    gradient = gradient["mlp"]["up_proj"]["kernel"]
    assert gradient.dtype == np.float32
    np.testing.assert_array_equal(gradient, np.full((6, 4), 1.0 + 2**-7, np.float32))
