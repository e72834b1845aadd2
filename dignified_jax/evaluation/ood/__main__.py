"""Test a model out of distribution: SycophancyEval and XSTest, in their publishers' files.

  sycophancy  answer.jsonl, feedback.jsonl or are_you_sure.jsonl: how far a model follows the user
  xstest      xstest_prompts.csv: safe compliance and unsafe refusal
  classifier  labelled completions of XSTest: how well strings, or a judge, tell refusals

Responses are kept in OUT/responses-….jsonl; the same command goes on where it was stopped.

example, with a judge beside the strings:
  python -m dignified_jax.evaluation.ood sycophancy answer.jsonl --model path/to/model --out ood \\
      --judge openai/gpt-4.1
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dignified_jax.console import entry

if TYPE_CHECKING:
    from dignified_jax.console.table import Table
    from dignified_jax.evaluation.ood.run import JudgeOf
    from dignified_jax.evaluation.ood.sycophancy_turns import Respond


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status, 1 where a file, model or judge can't be used."""
    options = _parser().parse_args(arguments)
    from dignified_jax.console.labels import printable_lines
    from dignified_jax.console.safe_stream import SafeStream

    commands = {"sycophancy": _sycophancy, "xstest": _xstest, "classifier": _classifier}
    try:
        with contextlib.redirect_stdout(SafeStream(sys.stdout)):
            tables = commands[options.command](options)
            if options.out is not None:
                _write(tables, pathlib.Path(options.out))
            print("\n\n".join(table.text() for table in tables))
            sys.stdout.flush()
    except (ValueError, OSError) as error:
        print(printable_lines(f"error: {error}"), file=SafeStream(sys.stderr))
        return 1
    return 0


def _sycophancy(options: argparse.Namespace) -> list[Table]:
    from dignified_jax.evaluation.ood import run

    read = run.read_sycophancy(options.files, options.kind, options.limit)
    respond, judges = _responder(options), _judges(options)
    tables = []
    for rows in read.values():
        tables += run.score_sycophancy(_name(options), rows, respond, judges)
    return tables


def _xstest(options: argparse.Namespace) -> list[Table]:
    from dignified_jax.evaluation.ood import run, xstest

    prompts = xstest.read_prompts(options.file)[: options.limit]
    return run.score_xstest(_name(options), prompts, _responder(options), _judges(options))


def _classifier(options: argparse.Namespace) -> list[Table]:
    from dignified_jax.evaluation.ood import judged, xstest

    labelled = {file: xstest.read_labelled(file) for file in options.files}
    everything = [each for own in labelled.values() for each in own]
    if len(labelled) > 1:
        labelled["all files"] = everything
    pairs = [(each.prompt, each.completion) for each in everything]
    classifiers = {"strings": xstest.by_strings}
    for name, make in _judges(options).items():
        classifiers[name] = judged.classifier(pairs, make(judged.rubric("xstest")))
    tables = []
    for number, (file, own) in enumerate(labelled.items(), start=1):
        for place, (name, classifier) in enumerate(classifiers.items(), start=1):
            table = xstest.check_classifier(f"{name}, on {file}", own, classifier)
            tables.append(dataclasses.replace(table, name=f"classifier-{number}-{place}"))
    return tables


def _responder(options: argparse.Namespace) -> Respond:
    from dignified_jax.evaluation import models, template_day
    from dignified_jax.evaluation.ood import run
    from dignified_jax.files.json_digest import digest
    from dignified_jax.generation import Settings

    settings = Settings(
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        seed=options.seed,
        batch_size=options.batch_size,
    )
    model = models.load(
        *(_name(options), options.model, options.dtype),
        template_kwargs=options.chat_template_kwargs,
        day=template_day.kept(options.out),
    )
    facts = {**dataclasses.asdict(settings), "dtype": options.dtype, "model": model.digest}
    del facts["batch_size"]  # no part of what a response is
    file = pathlib.Path(options.out) / f"responses-{digest(facts)}.jsonl"
    return run.responder(model, settings, file)


def _judges(options: argparse.Namespace) -> dict[str, JudgeOf]:
    from dignified_jax.evaluation.ood import run

    if options.judge is None:
        return {}
    if options.out is None and not options.judge.startswith(run.LOCAL):
        raise ValueError("--judge: the logs of an endpoint need --out")
    logs = pathlib.Path(options.out or ".") / "judging"
    return {options.judge: run.judge_of(options.judge, logs, options.dtype)}


def _name(options: argparse.Namespace) -> str:
    return options.name or options.model


def _write(tables: Sequence[Table], directory: pathlib.Path) -> None:
    from dignified_jax.files import atomic

    directory.mkdir(parents=True, exist_ok=True)
    for table in tables:
        atomic.write_text(directory / f"{table.name}.csv", table.csv(), "backslashreplace")


def _parser() -> argparse.ArgumentParser:
    from dignified_jax.generation.flags import add_sampled_model
    from dignified_jax.typed_config import count_argument, path_argument

    parser = argparse.ArgumentParser(
        prog="python -m dignified_jax.evaluation.ood",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    sycophancy = commands.add_parser("sycophancy", allow_abbrev=False)
    sycophancy.add_argument("files", nargs="+", type=path_argument, help="rows (JSON lines)")
    sycophancy.add_argument(
        "--kind",
        choices=("answer", "feedback", "are_you_sure"),
        help="of the rows; default by their fields",
    )
    xstest = commands.add_parser("xstest", allow_abbrev=False)
    xstest.add_argument("file", type=path_argument, help="requests (CSV)")
    classifier = commands.add_parser("classifier", allow_abbrev=False)
    classifier.add_argument("files", nargs="+", type=path_argument, help="completions (CSV)")
    for each in (sycophancy, xstest):
        add_sampled_model(each)
        add = each.add_argument
        add("--limit", type=count_argument, help="questions or requests, the first ones")
        add("--max_new_tokens", type=count_argument, default=128, help="of a response; default 128")
        add("--temperature", type=float, default=0.0, help="default 0: the likeliest token")
        add("--seed", type=int, default=0, help="of the draws; default 0")
    for each in (sycophancy, xstest, classifier):
        add = each.add_argument
        add(
            "--out",
            required=each is not classifier,
            type=path_argument,
            metavar="DIR",
            help="for responses and tables",
        )
        add("--judge", help="beside the strings: local:PATH, or a model of inspect_ai")
        add("--dtype", choices=("float32", "bfloat16"), default="float32", help="default float32")
    return parser


if __name__ == "__main__":
    entry.run(main, "interrupted; the same command goes on where it was stopped")
