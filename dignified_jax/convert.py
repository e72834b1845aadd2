"""Converts between Hugging Face directories and Orbax checkpoints.

Worked example:

    python -m dignified_jax.convert to-orbax --hf Qwen/Qwen3-4B-Instruct-2507 --out bare
    python -m dignified_jax.convert to-hf --checkpoint runs/lagdpo-tiny --out weights
    python -m dignified_jax.convert to-peft --checkpoint runs/lora --out adapter

`to-hf` and `to-peft` take a run directory (its newest checkpoint), one numbered checkpoint, or a
bare one, here or in a bucket (gs://…, s3://…). Of a LoRA run, `to-hf` merges with the base, which
is looked for where it was in training or at --base and must have the same weights; `to-peft` writes
a PEFT adapter. The dtype of the parameters (of the base, when merging) is kept unless --dtype says
otherwise.

A directory that is not empty is refused. With --overwrite the files that were converted into it
before are replaced, and no other file is touched.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from absl import logging

from dignified_jax.console import entry
from dignified_jax.console.labels import printable_lines
from dignified_jax.console.safe_stream import SafeStream
from dignified_jax.console.waiting import waiting
from dignified_jax.files import owned
from dignified_jax.training.run import quiet
from dignified_jax.typed_config import path_argument, place_argument


def to_orbax(hf_path: str, out: pathlib.Path, dtype: str | None) -> None:
    """Writes OUT/params (Orbax) and OUT/model (config, tokenizer) from a Hugging Face model."""
    from dignified_jax.embedded import resolve
    from dignified_jax.models import hf
    from dignified_jax.models.checkpoint import params_checkpoint

    directory = hf.resolve(resolve(hf_path))
    with waiting(f"loading {hf_path}", share=True) as count:
        _, params = hf.load(directory, dtype, progress=count)
    with waiting(f"writing {out}"):
        params_checkpoint.save_params(out, params)
    params_checkpoint.copy_model_files(directory, out / params_checkpoint.MODEL_DIRECTORY)


def to_hf(path: str, out: pathlib.Path, dtype: str | None, base: str | None = None) -> None:
    """Writes a Hugging Face directory from a checkpoint of training, or a bare one."""
    from dignified_jax.models import hf
    from dignified_jax.models.checkpoint import lora_base, params_checkpoint
    from dignified_jax.models.decoder import Decoder
    from dignified_jax.models.hf import peft
    from dignified_jax.models.hf.config import read_config

    source, side = params_checkpoint.find(path)
    record = lora_base.read(side)
    if base is not None and record is None:
        raise params_checkpoint.CheckpointError(f"--base: {source} holds a whole model, not LoRA")
    print(f"checkpoint: {source}")
    directory = None if record is None else lora_base.find_base(record, base, waiting)
    if directory is not None and out.resolve().is_relative_to(pathlib.Path(directory).resolve()):
        raise params_checkpoint.CheckpointError(
            f"--out: is in {directory}, the base to be merged with"
        )
    params = params_checkpoint.load_params(source, show=waiting)
    if record is None and "norm" not in params:
        raise params_checkpoint.CheckpointError(
            f"{source} holds LoRA alone, but {side} has no {lora_base.FILE} that names its base"
        )
    generation = side / "generation_config.json"
    options = {
        "dtype": dtype,
        "generation_config": generation if generation.is_file() else None,
    }
    with waiting(f"writing {out}", share=True) as count:
        if record is None:
            hf.save(out, Decoder(read_config(side)), params, **options, progress=count)
        else:
            peft.save_merged(out, directory, record.lora, params, **options, progress=count)
    params_checkpoint.copy_model_files(side, out, params_checkpoint.TOKENIZER_FILES)
    hf.rewrite_config(out)


def to_peft(path: str, out: pathlib.Path, dtype: str | None) -> None:
    """Writes a PEFT adapter directory from a checkpoint of a LoRA run."""
    from dignified_jax.models import hf
    from dignified_jax.models.checkpoint import lora_base, params_checkpoint
    from dignified_jax.models.hf import peft
    from dignified_jax.models.hf.config import is_wrapped, read_config

    source, side = params_checkpoint.find(path)
    record = lora_base.read(side)
    if record is None:
        raise params_checkpoint.CheckpointError(
            f"{source} holds a whole model, not LoRA ({side} has no {lora_base.FILE}); use to-hf"
        )
    print(f"checkpoint: {source}")
    params = params_checkpoint.load_params(source, show=waiting)
    arguments = (out, read_config(side), record.lora, params, record.base)
    peft.save_adapter(*arguments, dtype=dtype, wrapped=is_wrapped(side))
    params_checkpoint.copy_model_files(side, out, params_checkpoint.TOKENIZER_FILES)
    hf.rewrite_config(out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m dignified_jax.convert",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    orbax = commands.add_parser("to-orbax", help="Hugging Face directory to Orbax checkpoint")
    orbax.add_argument(
        "--hf", required=True, type=place_argument, help="directory, hub id, or embedded:NAME"
    )
    back = commands.add_parser("to-hf", help="Orbax checkpoint to Hugging Face directory")
    back.add_argument(
        "--checkpoint", required=True, type=place_argument, help="run directory or checkpoint"
    )
    back.add_argument(
        "--base", type=place_argument, help="of LoRA: directory or hub id, if it was moved"
    )
    adapter = commands.add_parser("to-peft", help="Orbax checkpoint of LoRA to PEFT adapter")
    adapter.add_argument(
        "--checkpoint", required=True, type=place_argument, help="run directory or checkpoint"
    )
    for command in (orbax, back, adapter):
        command.add_argument("--out", required=True, type=path_argument, help="directory to write")
        command.add_argument(
            "--overwrite",
            action="store_true",
            help="replace what was converted into the directory before; other files stay",
        )
        command.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: kept")
    options = parser.parse_args(arguments)
    logging.set_verbosity(logging.ERROR)  # Orbax warns of metadata that only its manager writes
    try:
        with quiet.background(), owned.writing(options.out, options.overwrite) as out:
            if options.command == "to-orbax":
                to_orbax(options.hf, out, options.dtype)
            elif options.command == "to-hf":
                to_hf(options.checkpoint, out, options.dtype, options.base)
            else:
                to_peft(options.checkpoint, out, options.dtype)
    except (ValueError, OSError) as error:
        print(printable_lines(f"error: {error}"), file=SafeStream(sys.stderr))
        return 1
    print(f"written: {options.out}", file=SafeStream(sys.stdout), flush=True)
    return 0


if __name__ == "__main__":
    entry.run(main)
