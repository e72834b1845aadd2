r"""Samples responses to prompts: `python -m dignified_jax.generate`.

Worked example, on the embedded model:

    echo '{"id": 1, "prompt": "Should I sell my car?"}' > prompts.jsonl
    python -m dignified_jax.generate --model embedded:tiny-qwen3 --prompts prompts.jsonl \
        --out responses.jsonl --max_new_tokens 40 --temperature 0.7

A line of --prompts has "id" and "prompt", a user's text or a list of messages. A line of --out has
"id", "prompt", "response" and how it was made. The same command goes on where it was stopped; an id
whose prompt has changed is asked again.

--model is a Hugging Face directory or hub id, a run directory or checkpoint of training (LoRA is
not merged), a PEFT adapter, or embedded:NAME. Any OpenAI-compatible server takes its place:

    python -m dignified_jax.generate --endpoint http://localhost:8000/v1 --model NAME \
        --prompts prompts.jsonl --out responses.jsonl

Several processes share the prompts, each with the whole model on its own devices; the first one
writes and shows:

    python -m dignified_jax.generate … --coordinator host0:12345 --processes 2 --process 0

Exit status: 0; 1 where something is refused or fails, or a prompt has no response in the end; 130
for Ctrl-C.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dignified_jax.console import entry
from dignified_jax.console.safe_stream import SafeStream

if TYPE_CHECKING:
    import datetime

    from dignified_jax.generation.settings import Settings
    from dignified_jax.generation.sources import SampledModel, ServedModel

# Flags of one of the two sources; without a default here, so that one that is given is seen.
_LOCAL = ("dtype", "base", "batch_size", "plain", "chat_template", "fsdp", "tensor")
_SERVED = ("concurrency", "timeout", "api_key_env")
_SETTINGS = ("max_new_tokens", "temperature", "top_p", "top_k", "seed", "batch_size")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    # Imported late, as all below: Ctrl-C is handled by then.
    from absl import logging

    from dignified_jax.console.labels import printable_lines
    from dignified_jax.files.lock import BusyError

    logging.set_verbosity(logging.ERROR)  # Orbax narrates
    try:
        return _run(options)
    except (ValueError, OSError, BusyError) as error:
        print(printable_lines(f"error: {error}"), file=SafeStream(sys.stderr))
        if options.endpoint is None:
            from dignified_jax.cluster import members

            members.leave(1)
        return 1


def _run(options: argparse.Namespace) -> int:
    from dignified_jax.cluster import job, members, team
    from dignified_jax.generation import sharing
    from dignified_jax.generation.settings import Settings

    given = {name: getattr(options, name) for name in _SETTINGS}
    given = {name: value for name, value in given.items() if value is not None}
    settings = Settings(**given, stop=tuple(options.stop))
    _check_flags(options)
    with job.joined(job.of_arguments(options)):
        if not members.is_first():
            sharing.serve(_source(options, settings))
            return 0
        with team.led():
            return _respond(options, settings)


def _respond(options: argparse.Namespace, settings: Settings) -> int:
    """Responds to what has no response yet, with the other processes where there are some."""
    from dignified_jax.generation import response_file, sharing
    from dignified_jax.generation.progress import SamplingProgress
    from dignified_jax.generation.prompt_file import read_prompts
    from dignified_jax.generation.system_prompts import read_system_prompt

    prompts = read_prompts(options.prompts)
    system = None if options.system is None else read_system_prompt(options.system)
    source = _source(options, settings, response_file.recorded_date(options.out))
    described = {**source.identity, **_facts(settings), "system": system}
    errors_to = SafeStream(sys.stderr)
    with response_file.opened(options.out, prompts, described) as file:
        for note in file.notes:
            print(note, file=errors_to)
        if file.kept:
            print(f"{options.out}: {file.kept} responses are there already", file=errors_to)
        errors = {}
        if file.waiting:
            progress = SamplingProgress(len(file.waiting), settings.max_new_tokens)
            for done in sharing.respond(source, source.requests(file.waiting, system), progress):
                if done.text is None:
                    errors[done.id] = done.error
                else:
                    file.add(done.id, done.text, **done.facts)
            progress.close()
            file.sort()
    return _report(options.out, len(prompts), errors)


def _report(out: str, total: int, errors: dict[str, str]) -> int:
    from dignified_jax.console.labels import clip, printable
    from dignified_jax.data.schema import first_lines

    whole = f"{total - len(errors)} of {total} prompts have a response"
    print(f"written: {out} ({whole})", file=SafeStream(sys.stdout), flush=True)
    if not errors:
        return 0
    lines = [f"  {clip(name)}: {printable(reason)}" for name, reason in errors.items()]
    told = "\n".join(first_lines(lines))
    print(f"error: no response; the same command asks again\n{told}", file=SafeStream(sys.stderr))
    return 1


def _source(
    options: argparse.Namespace, settings: Settings, day: datetime.date | None = None
) -> SampledModel | ServedModel:
    from dignified_jax.cluster import members
    from dignified_jax.console.waiting import silent, waiting
    from dignified_jax.generation.endpoint import Endpoint
    from dignified_jax.generation.sources import SampledModel, ServedModel

    if options.endpoint is not None:
        names = {"api_key_env": "key_variable"}
        flags = (*_SERVED, "chat_template_kwargs")
        further = {names.get(name, name): getattr(options, name) for name in flags}
        further = {name: value for name, value in further.items() if value is not None}
        return ServedModel(Endpoint(options.endpoint, options.model, **further), settings)
    names = [*(name for name in _LOCAL if name != "batch_size"), "chat_template_kwargs"]
    further = {name: getattr(options, name) for name in names}
    further = {name: value for name, value in further.items() if value is not None}
    show = waiting if members.is_first() else silent
    return SampledModel(options.model, settings, **further, day=day, show=show)


def _check_flags(options: argparse.Namespace) -> None:
    from dignified_jax.cluster import job

    served = options.endpoint is not None
    if served and job.of_arguments(options).joins:
        raise ValueError(
            "--endpoint: one process asks a server; --concurrency says how many requests at a time"
        )
    for name in _LOCAL if served else _SERVED:
        if getattr(options, name) is not None:
            with_or_without = "with" if served else "without"
            raise ValueError(f"--{name} has no meaning {with_or_without} --endpoint")
    for name in ("system", "chat_template", "chat_template_kwargs") if options.plain else ():
        if getattr(options, name) is not None:
            raise ValueError(f"--{name} has no meaning with --plain")


def _facts(settings: Settings) -> dict[str, Any]:
    """Returns what of the settings says what a response is."""
    facts = dataclasses.asdict(settings)
    del facts["batch_size"]
    return facts


def _parser() -> argparse.ArgumentParser:
    from dignified_jax.cluster import job
    from dignified_jax.generation.flags import add_template_kwargs
    from dignified_jax.typed_config import path_argument, place_argument

    parser = argparse.ArgumentParser(
        prog="python -m dignified_jax.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", required=True, type=place_argument, help="see above; with --endpoint, its name")
    add("--prompts", required=True, type=path_argument, metavar="FILE", help="JSON lines")
    add("--out", required=True, type=path_argument, metavar="FILE", help="JSON lines")
    add("--max_new_tokens", type=int, help="of a response; default 256")
    add("--temperature", type=float, help="default 0: always the likeliest token")
    add("--top_p", type=float, help="draw from the likeliest tokens of this probability together")
    add("--top_k", type=int, help="draw from so many likeliest tokens")
    add("--seed", type=int, help="each prompt's draws depend on it and on its id; default 0")
    add("--stop", action="append", default=[], metavar="TEXT", help="ends a response; repeatable")
    add(
        "--system",
        metavar="NAME|FILE",
        help="system prompt: A, T, E, C, plain or combined (steers toward a persona dimension, "
        "none or all), a text file, or FILE.yaml:NAME",
    )
    add_template_kwargs(parser)
    local = parser.add_argument_group("a model here")
    add = local.add_argument
    add(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="of weights and computation; default float32 on CPUs, else bfloat16",
    )
    add("--base", type=place_argument, help="of LoRA: directory or hub id, if it was moved")
    add("--batch_size", type=int, help="sequences sampled together; default 32")
    add(
        "--plain",
        action="store_const",
        const=True,
        help="continue the prompt's text as it is, without the chat template",
    )
    add(
        "--chat_template",
        type=path_argument,
        metavar="FILE",
        help="Jinja template in place of the tokenizer's own",
    )
    add("--fsdp", type=int, help="devices that weights are split over; default 1")
    add("--tensor", type=int, help="devices that compute a sequence together; default 1")
    job.add_arguments(parser)
    served = parser.add_argument_group("a server")
    add = served.add_argument
    add("--endpoint", metavar="URL", help="of an OpenAI-compatible server, such as .../v1")
    add("--concurrency", type=int, help="requests at a time; default 8")
    add("--timeout", type=float, help="seconds that an answer may take; default 600")
    add(
        "--api_key_env",
        metavar="NAME",
        help="environment variable of the key, which is never written; default OPENAI_API_KEY",
    )
    return parser


if __name__ == "__main__":
    entry.run(main, "interrupted; the same command goes on where it was stopped")
