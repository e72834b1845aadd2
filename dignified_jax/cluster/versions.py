"""Versions that the processes of a job have to share."""

from __future__ import annotations

import hashlib
import pathlib
import platform
from importlib import metadata

import dignified_jax

_PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax", "orbax-checkpoint", "tokenizers")


def here() -> dict[str, str]:
    """Returns name -> version of what computes; of the package itself also a digest of its code,
    as two checkouts may have the same version."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    root = pathlib.Path(dignified_jax.__file__).parent
    code = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        code.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    own = f"{dignified_jax.__version__}, code {code.hexdigest()[:8]}"
    return {"python": platform.python_version(), "dignified_jax": own, **found}
