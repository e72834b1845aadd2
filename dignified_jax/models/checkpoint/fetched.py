"""Models and checkpoints of a store, copied here to be read as any others."""

from __future__ import annotations

import atexit
import functools
import pathlib
import shutil
import tempfile

from dignified_jax.files import store

MODEL_DIRECTORY = "model"
PARAMS, CHECKSUM = "params", "checksum"
COMMITTED = "commit_success.txt"
"""The object that Orbax writes last into a checkpoint of a store."""


@functools.cache
def fetched(path: str) -> str:
    """Returns a local path as it is, and of one in a store a copy, for this process's life.

    Of a run that is its newest whole checkpoint's parameters, and what is needed beside; so of one
    checkpoint. Anything else is copied whole.

    Args:
      path: of a Hugging Face or PEFT directory, a run directory, its `checkpoints`, one of them, or
        a bare checkpoint.

    Raises:
      FileNotFoundError: there is nothing under that name.
      StoreError, ValueError: the store can't be read.
    """
    if not store.is_url(path):
        return path
    store.check(path)
    root, names = path.rstrip("/"), list(store.files(path))
    inner = _newest(names)
    if inner is None and not any(name.startswith(f"{PARAMS}/") for name in names):
        return str(store.fetched(path))
    steps = [] if inner is None else inner.split("/")
    # What travels with a checkpoint lies beside it, or beside the directory of all.
    while root.count("/") > 2 and not store.exists(f"{root}/{MODEL_DIRECTORY}/config.json"):
        root, _, last = root.rpartition("/")
        steps = [last, *steps]
        if len(steps) > 2:
            break
    target = pathlib.Path(tempfile.mkdtemp(prefix="dignified_jax-"))
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    for part in ([*steps, PARAMS], [*steps, CHECKSUM], [MODEL_DIRECTORY]):
        store.download(store.join(root, *part), target.joinpath(*part), lambda name: True)
    store.download(root, target, lambda name: name == "config.json", deep=False)
    return str(target.joinpath(*steps))


def _newest(names: list[str]) -> str | None:
    """The newest whole checkpoint of a run, relative to its directory or to its `checkpoints`."""
    for before in ("", "checkpoints/"):
        numbers = [
            name.removeprefix(before).partition("/")[0]
            for name in names
            if name.startswith(before) and name.count("/") == before.count("/") + 1
            if name.endswith(f"/{COMMITTED}")
        ]
        numbers = [number for number in numbers if number.isdigit()]
        if numbers:
            return before + max(numbers, key=int)
    return None
