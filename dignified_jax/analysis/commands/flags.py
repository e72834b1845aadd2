"""Flags that several commands have."""

from __future__ import annotations

import argparse
import datetime

import dignified_jax
from dignified_jax.typed_config import count_argument, place_argument

MODEL = "Hugging Face directory or hub id, run directory or checkpoint, PEFT adapter, embedded:NAME"


def add_workdir(parser: argparse.ArgumentParser) -> None:
    """Adds --workdir."""
    parser.add_argument(
        "--workdir",
        required=True,
        type=place_argument,
        metavar="DIR",
        help="for all that is written; responses that are there are not made again",
    )


def add_generation(parser: argparse.ArgumentParser, max_new_tokens: int) -> None:
    """Adds the flags of generated responses."""
    add = parser.add_argument
    add(
        "--max_new_tokens",
        type=count_argument,
        default=max_new_tokens,
        help="of a response; default %(default)s",
    )
    add("--temperature", type=float, default=0.0, help="default 0: the likeliest token")
    add("--batch_size", type=count_argument, default=32, help="sampled together; default 32")


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """Adds --dtype."""
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of weights and computation; default %(default)s",
    )


def named(text: str) -> tuple[str, str]:
    """Reads "NAME=PATH", as argparse has its types."""
    name, equals, path = text.partition("=")
    if not equals or not name.strip() or not path.strip():
        raise argparse.ArgumentTypeError(f"expected NAME=PATH, found {text!r}")
    return name.strip(), place_argument(path.strip())


def names(text: str) -> tuple[str, ...]:
    """Reads "A,B,C", as argparse has its types."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"expected distinct names, found {text!r}")
    return found


def numbers(text: str) -> tuple[float, ...]:
    """Reads "-2,0,2", as argparse has its types."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or any(value != value or abs(value) == float("inf") for value in found):
        raise argparse.ArgumentTypeError(f"expected finite numbers, found {text!r}")
    return found


def made() -> dict[str, str]:
    """Version of the package and the date, for provenance."""
    return {
        "dignified_jax": dignified_jax.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
