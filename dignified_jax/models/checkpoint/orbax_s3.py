"""Teaches Orbax the paths `s3://…`, which it hands to TensorStore's local files otherwise.

Orbax treats `gs://` as a store: a checkpoint is written under its final name and committed by a
last object, since nothing can be renamed. Its tests for such a path, and the one place where it
makes TensorStore's specification of it, are told of `s3://` too, and for how long to try again.
Should a version of Orbax not have them, `teach` refuses `s3://`; a run begins with a small
checkpoint that is read back, whatever changes.
"""

from __future__ import annotations

import os
from typing import Any

from dignified_jax.files import store

_SCHEME = "s3://"
_taught = False


def teach(url: str) -> None:
    """Makes Orbax take `s3://…`, in this process, and give up a store that is down.

    Raises:
      ValueError: the URL is of S3, and this version of Orbax has none of what is taught.
    """
    global _taught
    if _taught:
        return
    try:
        from orbax.checkpoint._src.path import gcs_utils
        from orbax.checkpoint._src.serialization import tensorstore_utils

        is_store, make_spec = gcs_utils.is_gcs_path, gcs_utils.get_kvstore_for_gcs
        use_store, normalized = tensorstore_utils._use_gcs_driver, tensorstore_utils._normalize_path
    except (ImportError, AttributeError) as error:
        if not _is_s3(url):
            return
        raise ValueError(
            f"{url}: this version of Orbax can't be taught s3:// ({error}); install "
            "orbax-checkpoint 0.12, or mount the bucket as a directory"
        ) from error

    def spec(path: str) -> dict[str, Any]:
        if _is_s3(path):
            found = store.kvstore(path)
            return found | {"path": found["path"].rstrip("/")}
        made = make_spec(path)  # TENSORSTORE_GCS_BACKEND may ask for another driver
        return {**store.kvstore(path), **made} if made["driver"] == "gcs" else made

    gcs_utils.is_gcs_path = lambda path: _is_s3(path.as_posix()) or is_store(path)
    gcs_utils.get_kvstore_for_gcs = spec
    tensorstore_utils._use_gcs_driver = lambda path: _is_s3(path) or use_store(path)
    tensorstore_utils._normalize_path = lambda path: (
        _SCHEME + os.path.normpath(path[len(_SCHEME) :]) if _is_s3(path) else normalized(path)
    )
    _taught = True


def _is_s3(path: str) -> bool:
    return path.startswith(_SCHEME)
