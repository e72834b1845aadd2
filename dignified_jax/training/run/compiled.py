"""Compilation ahead of time: what a run will call is compiled before its first step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Hashable, Iterator

import jax
import numpy as np
from jaxtyping import PyTree

_CACHE_HIT = "/jax/compilation_cache/cache_hits"


class CompiledFunction:
    """A jitted function that compiles when it is told to, and never when it is called.

    A call with arguments of a structure, shape or dtype that it was not compiled for is an error,
    so nothing can be compiled in the middle of a run unnoticed.
    """

    def __init__(self, name: str, function: jax.stages.Wrapped) -> None:
        """
        Args:
          name: of the function for a person, such as "the train step".
          function: from `jax.jit`.
        """
        self._name = name
        self._function = function
        self._compiled: dict[Hashable, jax.stages.Compiled] = {}

    def compile(self, notify: Callable[[str], None], *arguments: PyTree) -> None:
        """Compiles for arguments like these, unless it has, and says how long that took.

        Args:
          notify: shows a line to a person.
          *arguments: pytrees of arrays, on the devices where they will be; none is donated.
        """
        kind = _kind(arguments)
        if kind in self._compiled:
            return
        started = time.perf_counter()
        lowered = self._function.lower(*arguments)
        with _noticed(_CACHE_HIT) as hits:
            self._compiled[kind] = lowered.compile()
        seconds = time.perf_counter() - started
        if hits:
            notify(f"read {self._name} from the compilation cache in {seconds:.1f} s")
        else:
            notify(f"compiled {self._name} in {seconds:.1f} s")

    def __call__(self, *arguments: PyTree) -> PyTree:
        """Returns what the function does.

        Raises:
          TypeError: it was not compiled for such arguments; names the first that differs.
        """
        compiled = self._compiled.get(_kind(arguments))
        if compiled is None:
            raise TypeError(self._refusal(arguments))
        return compiled(*arguments)

    def _refusal(self, arguments: tuple[PyTree, ...]) -> str:
        head = f"{self._name} was not compiled for these arguments"
        found = _described(arguments)
        for kind in self._compiled.values():
            expected = _described(kind.args_info[0])
            for name in (*expected, *found):
                one, other = expected.get(name, "nothing"), found.get(name, "nothing")
                if one != other:
                    return f"{head}: arguments{name} should be {one}, found {other}"
        return f"{head}: compile comes first"


def _kind(arguments: tuple[PyTree, ...]) -> Hashable:
    leaves, structure = jax.tree.flatten(arguments)
    return structure, tuple((np.shape(leaf), leaf.dtype) for leaf in leaves)


def _described(arguments: tuple[PyTree, ...]) -> dict[str, str]:
    """Path of every array -> its dtype and shape."""
    return {
        jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree.leaves_with_path(arguments)
    }


@contextlib.contextmanager
def _noticed(event: str) -> Iterator[list[str]]:
    """A list that grows by each such event of JAX."""
    seen: list[str] = []

    def listen(name: str, **_: object) -> None:
        if name == event:
            seen.append(name)

    jax.monitoring.register_event_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_listener(listen)
