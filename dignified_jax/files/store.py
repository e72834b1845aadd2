"""Directories in buckets: `gs://BUCKET/…` and `s3://BUCKET/…`.

Google's and S3-compatible stores keep whole objects: they are replaced at once, and never appended
to, renamed or locked. fsspec (gcsfs, s3fs) lists, reads and writes them; Orbax goes through the
same and TensorStore. Credentials and endpoints come from the environment, as for these libraries.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import logging
import os
import pathlib
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from dignified_jax.files.lock import BusyError

if TYPE_CHECKING:
    import fsspec
    from etils import epath

    Directory = pathlib.Path | epath.Path

SCHEMES = {"gs": "gcsfs", "s3": "s3fs"}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CONNECT_SECONDS = 10
# Of TensorStore: 1, 2, 4, 8, 16, 16, … seconds.
_RETRIES = {"max_retries": 9, "initial_delay": "1s", "max_delay": "16s"}
_LOCKED = threading.Lock()


class StoreError(OSError):
    """A bucket can't be used; the message says which directory of it, and why."""


def is_url(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is a URL, of a store or of anything else."""
    return _URL.match(os.fspath(path)) is not None


def check(url: str) -> None:
    """Checks that a URL can hold a directory, and that the packages for it are here.

    Raises:
      ValueError: it can't; says why and what to do.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        raise ValueError(
            f"{url}: expected a directory, gs://BUCKET/… or s3://BUCKET/…; other stores can be "
            "mounted as a directory"
        )
    bucket, _, directory = rest.partition("/")
    parts = directory.strip("/").split("/")
    if not bucket or not all(parts):
        raise ValueError(f"{url}: expected {scheme}://BUCKET/DIRECTORY, each part with a name")
    if not {".", ".."}.isdisjoint(parts) or set(url) & set("*?[]#\\\n"):
        raise ValueError(
            f"{url}: a directory of a bucket may have none of * ? [ ] # \\, and no part . or .."
        )
    package = SCHEMES[scheme]
    if importlib.util.find_spec(package) is None:
        raise ValueError(
            f"{url}: needs {package}, which is not installed: pip install 'dignified_jax[{scheme}]'"
        )


def place(path: str | os.PathLike[str]) -> Directory:
    """Returns a local path as `pathlib.Path`, and one in a store as `epath.Path`.

    Raises:
      ValueError: as `check`.
    """
    if not is_url(path):
        return pathlib.Path(path)
    url = os.fspath(path)
    check(url)
    filesystem(url)  # sets up what epath uses
    from etils import epath

    return epath.Path(url)


def join(directory: str | os.PathLike[str], *names: str) -> str:
    """Returns the path of an entry of a directory, here or in a store."""
    if not is_url(directory):
        return str(pathlib.Path(directory, *names))
    return "/".join([os.fspath(directory).rstrip("/"), *names])


def filesystem(url: str) -> fsspec.AbstractFileSystem:
    """Returns the store's file system, which sees at once what others write."""
    scheme = url.partition("://")[0]
    with _LOCKED:
        return _filesystem(scheme)


@functools.cache
def _filesystem(scheme: str) -> fsspec.AbstractFileSystem:
    import fsspec

    os.environ.setdefault("EPATH_USE_TF", "false")  # etils: fsspec also where TensorFlow is
    # It shows a traceback at every try, and warns at every call of an emulator's kind of bucket.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    # The defaults of the instance that etils makes, too. Listings that are kept would hide what
    # TensorStore and other processes write.
    defaults: dict[str, Any] = {"use_listings_cache": False}
    if scheme == "s3":
        retries = {"mode": "standard", "max_attempts": 3}
        defaults["config_kwargs"] = {"connect_timeout": _CONNECT_SECONDS, "retries": retries}
    names = ("gs", "gcs") if scheme == "gs" else (scheme,)
    for name in names:
        fsspec.config.conf[name] = {**defaults, **fsspec.config.conf.get(name, {})}
    return fsspec.filesystem(scheme)


def kvstore(url: str) -> dict[str, Any]:
    """Returns TensorStore's specification of a directory, whose keys are the names in it.

    Its driver for S3 reads no endpoint from the environment: it gets the one that s3fs found. A
    request that fails is tried again for about two minutes.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, directory = rest.partition("/")
    path = directory.strip("/") + "/"
    if scheme == "gs":
        return {"driver": "gcs", "bucket": bucket, "path": path, "gcs_request_retries": _RETRIES}
    found = filesystem(url).s3.meta
    spec = {"driver": "s3", "bucket": bucket, "path": path, "s3_request_retries": _RETRIES}
    if ".amazonaws.com" not in found.endpoint_url:
        spec |= {"endpoint": found.endpoint_url, "aws_region": found.region_name or "us-east-1"}
    if "AWS_ACCESS_KEY_ID" in os.environ:  # else it complains of files that need not be there
        spec["aws_credentials"] = {"type": "environment"}
    return spec


@contextlib.contextmanager
def told(url: str) -> Iterator[None]:
    """Turns an error of the libraries into a line that names the directory.

    Raises:
      StoreError: there was one.
    """
    try:
        yield
    except (StoreError, BusyError):
        raise
    except Exception as error:  # each library has its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StoreError(f"{url}: {reason[:300]}{_cure(reason, url)}") from error


def _cure(reason: str, url: str) -> str:
    """Returns what to look at, by what a store said."""
    text = reason.lower()
    variables = {
        "gs": "GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default login",
        "s3": "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    }[url.partition("://")[0]]
    credentials = ("credential", "forbidden", "access denied", "accessdenied", "unauthorized")
    if any(word in text for word in (*credentials, "403", "401", "signature", "access key")):
        return f"; credentials are looked for as {variables}"
    return ""


def files(url: str, deep: bool = True) -> list[str]:
    """Returns the relative names of the objects of a directory, and if `deep` of those in it.

    Raises:
      StoreError: it can't be listed.
    """
    with told(url):
        store = filesystem(url)
        root = store._strip_protocol(url).rstrip("/") + "/"
        try:
            found = store.find(root, maxdepth=None if deep else 1, detail=True)
        except FileNotFoundError as error:  # else there would be none under the name
            bucket = root.partition("/")[0]
            raise StoreError(f"{url}: there is no bucket {bucket}; make it first") from error
        return sorted(
            name.removeprefix(root)
            for name, entry in found.items()
            if entry["type"] == "file" and not name.endswith("/")
        )


def exists(url: str) -> bool:
    """Returns whether there is an object of this name.

    Raises:
      StoreError: the store can't be asked.
    """
    with told(url):
        return filesystem(url).exists(url)


def download(
    url: str, target: pathlib.Path, wanted: Callable[[str], bool], deep: bool = True
) -> list[str]:
    """Copies the objects of a directory whose relative name is wanted; returns those names.

    Raises:
      StoreError: one can't be read; ValueError: its name leads out of the directory.
    """
    names = [name for name in files(url, deep) if wanted(name)]
    for name in names:
        if not {"", ".", ".."}.isdisjoint(name.split("/")):
            raise ValueError(f"{url}: has an object {name!r}, which can't be a file here")
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with told(join(url, name)):
            filesystem(url).get_file(join(url, name), str(file))
    return names


def upload(file: pathlib.Path, url: str) -> None:
    """Writes a file as an object: whole or not at all, in the place of an earlier one.

    Raises:
      StoreError: it can't be written.
    """
    with told(url):
        filesystem(url).put_file(str(file), url)


def remove(url: str) -> None:
    """Removes an object, if it is there.

    Raises:
      StoreError: it can't be removed.
    """
    with told(url), contextlib.suppress(FileNotFoundError):
        filesystem(url).rm_file(url)


def remove_tree(directory: Directory) -> None:
    """Removes a directory and what lies in it, here or in a store, as far as that can be done."""
    if not is_url(directory):
        shutil.rmtree(directory, ignore_errors=True)
        return
    with contextlib.suppress(Exception):  # each library has its own
        directory.rmtree(missing_ok=True)


@functools.cache
def fetched(url: str) -> pathlib.Path:
    """Copies a directory of a store here, for this process's life; returns where it lies.

    Raises:
      FileNotFoundError: there is nothing under the name.
      StoreError, ValueError: as `download` and `check`.
    """
    check(url)
    target = pathlib.Path(tempfile.mkdtemp(prefix="dignified_jax-"))
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    if not download(url, target, lambda name: True):
        raise FileNotFoundError(f"{url}: no such directory")
    return target
