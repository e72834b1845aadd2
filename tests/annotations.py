"""Annotations of arrays (dtypes, axes) that are checked while tests run.

`jaxtyping.install_import_hook` checks every function and every dataclass of a module. Modules that
define trees can't be given to it: JAX makes trees of shapes, shardings and specs from the same
classes. Here their public functions are checked, and the fields of every tree of arrays that these
take or return, with the same names of axes as their other arrays.
"""

import functools
import importlib.abc
import importlib.machinery
import inspect
import sys
import typing

import jax
import numpy as np
from beartype.door import is_bearable
from jaxtyping import jaxtyped


def install(modules):
    """Checks the public functions of `modules` from their import on.

    Raises:
      RuntimeError: one is imported already.
    """
    early = sorted(set(modules) & set(sys.modules))
    if early:
        raise RuntimeError(f"imported before its annotations could be checked: {early}")
    sys.meta_path.insert(0, _Finder(frozenset(modules)))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, modules):
        self.modules = modules

    def find_spec(self, name, path, target=None):
        if name not in self.modules:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module):
        super().exec_module(module)
        for name, value in list(vars(module).items()):
            own = inspect.isfunction(value) and value.__module__ == module.__name__
            if own and not name.startswith("_"):
                setattr(module, name, checked(value))


def checked(function):
    """The function, which raises TypeError for arrays that its annotations do not allow.

    So it does for those in the fields of trees that it takes or returns.
    """
    signature = inspect.signature(function)
    name = f"{function.__module__}.{function.__qualname__}"

    @functools.wraps(function)
    def call(*args, **kwargs):
        hints = _hints(function)
        with jaxtyped("context"):  # in which a name of an axis has one size
            for argument, value in signature.bind(*args, **kwargs).arguments.items():
                check(value, hints.get(argument), f"{name}: {argument}")
            result = function(*args, **kwargs)
            check(result, hints.get("return"), f"{name}: result")
        return result

    return call


def check(value, hint, place):
    """Raises TypeError where an array is not of a hint's dtype and axes, alone or in a tree.

    Names of axes are those of the checked function that is running. What holds no arrays, such as a
    tree of shardings, is left alone, and so is all that is not in tuples or trees of the package.
    """
    if isinstance(value, jax.Array | np.ndarray):
        if hint is not None and not is_bearable(value, hint):
            found = f"{value.dtype}{list(value.shape)}"
            raise TypeError(f"{place}: expected {hint}, found {type(value).__name__} {found}")
    elif type(value) is tuple:
        hints = typing.get_args(hint)
        hints = hints if len(hints) == len(value) and ... not in hints else [None] * len(value)
        for number, (inner, its) in enumerate(zip(value, hints, strict=True)):
            check(inner, its, f"{place}[{number}]")
    else:
        for field in _fields(type(value)):
            check(getattr(value, field), _hints(type(value)).get(field), f"{place}.{field}")


def _fields(cls):
    """Names of the fields of a dataclass or named tuple of the package; none of others."""
    if not cls.__module__.startswith("dignified_jax."):
        return ()
    return getattr(cls, "__dataclass_fields__", getattr(cls, "_fields", ()))


_hints = functools.cache(typing.get_type_hints)
