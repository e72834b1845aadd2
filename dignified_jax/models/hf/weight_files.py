"""The tensors of a Hugging Face directory: which files hold them, and under which names."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib
import re
from collections.abc import Mapping

import ml_dtypes  # noqa: F401  (numpy needs it registered before safetensors can read bfloat16)
import numpy as np
from safetensors import safe_open

from dignified_jax.console.waiting import ShowCount, uncounted
from dignified_jax.files.model_directory import locate, read_object
from dignified_jax.models import families
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.hf import names
from dignified_jax.models.hf.names import EMBEDDING, HEAD, INDEX_FILE, SINGLE_FILE

DTYPE_NAMES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_EXPERT = re.compile(r"(.+)\.(\d+)\.(gate|up|down)_proj\.weight")
# Old Llama exports carry it, in a dtype of its own; it holds no weights.
_BUFFER = "rotary_emb.inv_freq"
# Problems that one message lists.
_LISTED = 20


class WeightsError(ValueError):
    """A checkpoint's tensors are not those that its config.json promises."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """Where a tensor lies, and what the file's header says of it.

    Attributes:
      file, name: of the tensor.
      shape, dtype: of it.
      within: of a matrix that lies in a tensor of a layer's experts: which expert, and the first
        of its rows there.
    """

    file: pathlib.Path
    name: str
    shape: tuple[int, ...]
    dtype: str
    within: tuple[int, int] | None = None

    def read(self, index: tuple[slice, ...] = ()) -> np.ndarray:
        """A slice of the tensor, copied."""
        # Opened for every read: an open file stays mapped, and all that was read of it resident.
        with safe_open(str(self.file), framework="numpy") as handle:
            lying = handle.get_slice(self.name)
            if self.within is None:
                return lying[index or slice(None)]
            expert, first = self.within
            rows, columns = index or (slice(None), slice(None))
            start, stop, _ = rows.indices(self.shape[0])
            return lying[expert : expert + 1, first + start : first + stop, columns][0]


def stored(directory: str | pathlib.Path, config: DecoderConfig) -> dict[str, Stored]:
    """The tensors of a directory by the names of `names.tensors`, known to be those of `config`.

    As transformers does, it takes weights of the model without its head ("layers.0..." for
    "model.layers.0..."), a tied matrix under either name, and a layer's experts in one tensor; and
    of a `Wrapper`'s checkpoint the text model's alone.

    Raises:
      FileNotFoundError, WeightsError, ModelFileError: as `reader.load`.
    """
    directory = pathlib.Path(directory)
    expected = {tensor.name: tensor for tensor in names.tensors(config)}
    wrapper = families.of(config.architecture).wrapper
    tensors: dict[str, Stored] = {}
    for name, tensor in find(directory).items():
        if name.endswith(_BUFFER):
            continue
        if wrapper is not None and name.startswith(wrapper.others):
            continue
        known = names.known_as(name, config, expected)
        if known in tensors:
            raise WeightsError(
                f"{directory}: holds both {tensors[known].name} and {name}, which name one tensor"
            )
        tensors[known] = tensor
    tensors = _with_experts_apart(tensors, expected)
    if config.tie_word_embeddings and HEAD in tensors:
        head = tensors.pop(HEAD)
        embedding = tensors.setdefault(EMBEDDING, head)
        if head.shape != embedding.shape or not np.array_equal(head.read(), embedding.read()):
            raise WeightsError(
                f"{directory}: tie_word_embeddings is true, but {head.name} differs from "
                f"{embedding.name}"
            )
    problems = [f"missing tensor {name}" for name in expected if name not in tensors]
    problems += [f"unknown tensor {name}" for name in tensors if name not in expected]
    for name in expected.keys() & tensors.keys():
        found, wanted = tensors[name], expected[name].shape
        if found.shape != wanted:
            problems.append(f"tensor {name} has shape {found.shape}, expected {wanted}")
        if found.dtype not in DTYPE_NAMES:
            problems.append(f"tensor {name} has dtype {found.dtype}")
    if problems:
        raise WeightsError(f"{directory}: {_joined(sorted(problems))}")
    return tensors


def _with_experts_apart(
    tensors: dict[str, Stored], expected: Mapping[str, names.Tensor]
) -> dict[str, Stored]:
    """Adds a layer's experts, where one tensor holds them: (expert, out, in), as transformers 5 may
    write them, the rows of gate_proj before those of up_proj."""
    places: dict[str, list[tuple[int, int, str]]] = {}  # tensor of all -> expert, first row, name
    for name, wanted in expected.items():
        match = _EXPERT.fullmatch(name)
        if match is not None and name not in tensors:
            place, expert, kind = match.groups()
            together = f"{place}.{'down' if kind == 'down' else 'gate_up'}_proj"
            first = wanted.shape[0] if kind == "up" else 0
            places.setdefault(together, []).append((int(expert), first, name))
    found = dict(tensors)
    for together, parts in places.items():
        if together not in tensors:
            continue
        lying = found.pop(together)
        rows, columns = expected[parts[0][2]].shape
        count = 1 + max(expert for expert, _, _ in parts)
        shape = (count, rows * len(parts) // count, columns)
        if lying.shape != shape:
            raise WeightsError(
                f"{lying.file}: tensor {lying.name} has shape {lying.shape}, expected {shape}"
            )
        for expert, first, name in parts:
            own = expected[name].shape
            found[name] = dataclasses.replace(lying, shape=own, within=(expert, first))
    return found


def find(directory: str | pathlib.Path) -> dict[str, Stored]:
    """All tensors by their names in the files: of the single file, else of an index's shards.

    Raises:
      FileNotFoundError, WeightsError, ModelFileError: as `reader.load`.
    """
    directory = pathlib.Path(directory)
    adapter = directory / "adapter_config.json"
    if adapter.is_file():
        raise WeightsError(
            f"{adapter}: the directory holds a PEFT adapter; merge it with its base first"
        )
    # transformers takes the single file where there are both.
    if (single := locate(directory, SINGLE_FILE)) is not None:
        return _read_header(single)
    if (index := locate(directory, INDEX_FILE)) is None:
        raise FileNotFoundError(
            f"{directory}: found neither {SINGLE_FILE} nor {INDEX_FILE}; weights in other "
            "formats must be converted to safetensors first"
        )
    weight_map = read_object(index).get("weight_map")
    valid = isinstance(weight_map, dict) and weight_map
    if not valid or not all(isinstance(file, str) for file in weight_map.values()):
        raise WeightsError(f"{index}: weight_map: expected the file of each tensor")
    tensors: dict[str, Stored] = {}
    for file in sorted(set(weight_map.values())):
        if (path := locate(directory, file)) is None:
            raise FileNotFoundError(f"{directory / file}: named in {index.name}, but not found")
        found = _read_header(path)
        for name in found:
            if weight_map.get(name) != file:
                raise WeightsError(f"{path}: tensor {name} is not where {index.name} says")
        tensors |= found
    absent = sorted(set(weight_map) - set(tensors))
    if absent:
        raise WeightsError(f"{index}: names tensors that no file has: {_joined(absent)}")
    return tensors


def _read_header(path: pathlib.Path) -> dict[str, Stored]:
    try:
        with safe_open(str(path), framework="numpy") as handle:
            slices = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118
            return {
                name: Stored(path, name, tuple(part.get_shape()), part.get_dtype())
                for name, part in slices.items()
            }
    except Exception as error:  # SafetensorError derives from Exception alone
        raise WeightsError(f"{path}: not a readable safetensors file: {error}") from error


def digest(directory: str | pathlib.Path, progress: ShowCount = uncounted) -> str:
    """A hash of names, dtypes, shapes and bits of the weights, however they lie in files.

    Args:
      directory: as `find` takes it.
      progress: told how many entries have been read.
    """
    sha, found, done = hashlib.sha256(), find(directory), 0
    total = sum(math.prod(tensor.shape) for tensor in found.values())
    for name, tensor in sorted(found.items()):
        sha.update(json.dumps([name, tensor.dtype, tensor.shape]).encode())
        sha.update(np.ascontiguousarray(tensor.read()).view(np.uint8))
        done += math.prod(tensor.shape)
        progress(done, total)
    return sha.hexdigest()[:16]


def stored_dtype(directory: str | pathlib.Path) -> str:
    """Name of the widest floating dtype in the directory's weights, such as "bfloat16".

    Of a `Wrapper`'s checkpoint it is that of the text model.
    """
    wrappers = [f.wrapper for f in families.known() if f.wrapper is not None]
    others = tuple(prefix for wrapper in wrappers for prefix in wrapper.others)
    tensors = {
        name: tensor
        for name, tensor in find(directory).items()
        if not name.endswith(_BUFFER) and not name.startswith(others)
    }
    return widest(tensors, directory)


def widest(tensors: dict[str, Stored], directory: str | pathlib.Path) -> str:
    """Name of the widest floating dtype of `tensors`.

    Raises:
      WeightsError: one has no floating dtype that is read here.
    """
    kinds = {tensor.dtype for tensor in tensors.values()}
    unknown = kinds - set(DTYPE_NAMES)
    if unknown:
        raise WeightsError(f"{directory}: tensors of dtype {', '.join(sorted(unknown))}")
    return next(name for kind, name in DTYPE_NAMES.items() if kind in kinds)


def _joined(items: list[str]) -> str:
    more = f"; and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return "; ".join(items[:_LISTED]) + more
