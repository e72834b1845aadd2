"""Digests: equal for equal content however it lies, different for any one difference."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from dignified_jax.data import PreferenceRow
from dignified_jax.training.run import fingerprint
from tests.oracles import sequences


def tree():
    rng = np.random.default_rng(0)
    return {
        "kernel": jnp.asarray(rng.normal(size=(3, 8, 4)), jnp.float32),
        "half": jnp.asarray(rng.normal(size=(8, 2)), jnp.bfloat16),
        "step": jnp.int32(7),
        "flags": jnp.asarray([True, False]),
    }


def test_every_single_bit_counts():
    digests = {fingerprint.of_arrays(tree())}
    flips = 0
    for name, leaf in tree().items():
        host = np.asarray(leaf).copy()
        view = host.reshape(-1).view(np.uint8)
        for place in range(0, view.size, 7):
            bits = (0,) if host.dtype == bool else range(8)
            for bit in bits:
                view[place] ^= 1 << bit
                digests.add(fingerprint.of_arrays(tree() | {name: jnp.asarray(host)}))
                view[place] ^= 1 << bit
                flips += 1
    assert len(digests) == 1 + flips and flips > 100


def test_order_names_shapes_and_dtypes_count():
    whole = tree()
    kernel = whole["kernel"]
    others = [
        whole
        | {"kernel": kernel.at[0, 0, 0].set(kernel[0, 0, 1]).at[0, 0, 1].set(kernel[0, 0, 0])},
        whole | {"kernel": kernel.swapaxes(1, 2)},
        whole | {"kernel": kernel.reshape(8, 3, 4)},
        whole | {"half": whole["half"].astype(jnp.float32)},
        {("other" if name == "step" else name): leaf for name, leaf in whole.items()},
        {name: leaf for name, leaf in whole.items() if name != "flags"},
        {},
    ]
    assert len({fingerprint.of_arrays(each) for each in [whole, *others]}) == 1 + len(others)


@pytest.mark.parametrize("shape", [(8, 1), (2, 4), (1, 8)])
def test_sharding_does_not_count(shape):
    mesh = jax.make_mesh(shape, ("a", "b"), axis_types=(AxisType.Auto,) * 2)
    values = tree()
    places = {name: NamedSharding(mesh, PartitionSpec()) for name in values}
    places["kernel"] = NamedSharding(mesh, PartitionSpec(None, ("a", "b")))
    places["half"] = NamedSharding(mesh, PartitionSpec("b"))
    assert fingerprint.of_arrays(jax.device_put(values, places)) == fingerprint.of_arrays(values)


def test_rows_and_examples():
    rows = [PreferenceRow(f"p{i}", f"g{i}", {"A": f"a{i}"}) for i in range(3)]
    swapped = [rows[1], rows[0], rows[2]]
    moved = [dataclasses.replace(rows[0], rejects={"T": "a0"}), *rows[1:]]
    unseen = [dataclasses.replace(row, seed_scene="elsewhere") for row in rows]
    assert len({fingerprint.of_rows(each) for each in (rows, swapped, moved, rows[:2])}) == 4
    assert fingerprint.of_rows(unseen) == fingerprint.of_rows(rows)

    examples = sequences.random_examples(3, 0)
    joined = np.concatenate([examples[0].prompt, examples[0].responses[0]])
    split = len(examples[0].prompt) + 1  # the same ids, the border elsewhere
    shifted = dataclasses.replace(
        examples[0], prompt=joined[:split], responses=(joined[split:], *examples[0].responses[1:])
    )
    digests = [fingerprint.of_examples(e) for e in (examples, [shifted, *examples[1:]])]
    assert digests[0] != digests[1]
    assert digests[0] == fingerprint.of_examples(sequences.random_examples(3, 0))
