"""Functions compiled before their first call: told once, refusing other arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.training.run.compiled import CompiledFunction


@jax.jit
def add(tree, number):
    return tree["x"] + number


ONE = np.int32(1)


def arguments(shape=(3,), dtype=jnp.float32, number=ONE):
    return {"x": jnp.ones(shape, dtype)}, number


def test_compiles_once_for_each_kind_of_arguments():
    said = []
    compiled = CompiledFunction("the sum", add)
    for given in (arguments(), arguments(number=np.int32(5)), arguments((4,)), arguments()):
        compiled.compile(said.append, *given)
    assert len(said) == 2
    assert all(line.startswith("compiled the sum in ") for line in said)
    np.testing.assert_array_equal(compiled(*arguments(number=np.int32(2))), [3.0] * 3)
    np.testing.assert_array_equal(compiled(*arguments((4,))), [2.0] * 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (arguments((5,)), r"arguments\[0\]\['x'\] should be float32\[3\], found float32\[5\]"),
        (arguments(dtype=jnp.int32), r"\['x'\] should be float32\[3\], found int32\[3\]"),
        (arguments(number=None), r"arguments\[1\] should be int32\[\], found nothing"),
    ],
)
def test_other_arguments_are_refused_by_name(given, message):
    compiled = CompiledFunction("the sum", add)
    with pytest.raises(TypeError, match=r"the sum was not compiled .* compile comes first"):
        compiled(*arguments())
    compiled.compile(lambda line: None, *arguments())
    with pytest.raises(TypeError, match=rf"^the sum was not compiled for these .*{message}$"):
        compiled(*given)
