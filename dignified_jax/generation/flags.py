"""Flags of the commands that sample from a model here."""

from __future__ import annotations

import argparse

from dignified_jax.typed_config import count_argument, object_argument, place_argument


def add_sampled_model(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name the model and say how it is sampled."""
    add = parser.add_argument
    add(
        "--model",
        required=True,
        type=place_argument,
        help="Hugging Face directory or hub id, run directory or checkpoint, or embedded:NAME",
    )
    add("--name", help="label of the model; default its path")
    add(
        "--batch_size",
        type=count_argument,
        default=32,
        help="sequences sampled together; default 32",
    )
    add_template_kwargs(parser)


def add_template_kwargs(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of arguments for the chat template."""
    parser.add_argument(
        "--chat_template_kwargs",
        type=object_argument,
        metavar="JSON",
        help="arguments for the chat template, such as '{\"enable_thinking\": false}'; default: of "
        "a run, those that it was trained with",
    )
