"""Lag-DPO against other methods on a real model and real rows, within a budget of hours.

    python -m benchmarks.real --model DIR --train train.jsonl --test test.jsonl --out OUT --hours 4

One command, which goes on where it was stopped: it makes the rows (with and without a conflict of
dimensions), trains in the order of what tells most per hour, reads the test rows of each chosen run
once, and writes OUT/report.md, report.json and figures whenever it ends, by the budget, Ctrl-C or
being done. OUT belongs to one setting of the flags but for --hours, --seeds and --methods, which
may grow.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import pathlib
import time
from collections.abc import Callable, Sequence

from benchmarks.real import (
    behaviour,
    clock,
    plan,
    report,
    results,
    rows,
    scoring,
    training,
    upper,
)
from benchmarks.real.entries import CONFLICT, ENTRIES, WORLDS, RunId, Setting, rows_file
from benchmarks.real.rows import Conflict, Sizes
from dignified_jax.data import DIMENSIONS
from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.embedded import resolve
from dignified_jax.files import atomic, lock
from dignified_jax.files.differences import differences
from dignified_jax.models import hf

Notify = Callable[[str], None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Works until the budget is spent, then reports."""
    options = _parser().parse_args(arguments)
    notify = functools.partial(print, flush=True)
    setting = _setting(options)
    setting.out.mkdir(parents=True, exist_ok=True)
    with lock.held(setting.out, notify):
        _check_same(setting, options)
        counts = _rows(setting, options)
        notify(f"rows: {json.dumps(counts)}")
        contrasts = plan.order(options.rows, options.methods, options.seeds, len(options.rates))
        write = functools.partial(_report, setting, options, contrasts, counts)
        started = time.monotonic()
        with clock.budget(options.hours * 3600) as check:
            _work(setting, options, contrasts, notify, write, check)
            notify("everything that was planned is done")
        notify(f"{(time.monotonic() - started) / 3600:.2f} hours; report: {write()}")


def _work(
    setting: Setting,
    options: argparse.Namespace,
    contrasts: Sequence[plan.Contrast],
    notify: Notify,
    write: Callable[[], pathlib.Path],
    check: Callable[[], None],
) -> None:
    """Trains and scores what is missing, group by group; at last what costs generation."""
    for group in plan.groups(contrasts):
        run = _train(setting, options, group, notify, check)
        if not scoring.is_scored(setting, run):
            notify(f"reading the test rows of {run.label}")
            score = scoring.score if setting.upper_layers is None else upper.score
            score(setting, run, notify)
        write()
        check()
    behaviour.measure(setting, options, _chosen(setting, options, contrasts), notify)


def _train(
    setting: Setting,
    options: argparse.Namespace,
    group: plan.Group,
    notify: Notify,
    check: Callable[[], None],
) -> RunId:
    """Trains a group's runs; the one whose test rows may be read."""
    train = training.train if setting.upper_layers is None else upper.train
    first = dataclasses.replace(group, seed=options.seeds[0])
    candidates = plan.trials(first, options.rates)
    for trial in candidates:
        if not training.is_trained(setting, trial):
            train(setting, trial, notify)
            check()
    best = training.chosen(setting, candidates)
    assert best is not None
    run = dataclasses.replace(best, seed=group.seed)
    if not training.is_trained(setting, run):
        train(setting, run, notify)
    return run


def _chosen(
    setting: Setting, options: argparse.Namespace, contrasts: Sequence[plan.Contrast]
) -> results.Results:
    rates = results.learning_rates(setting, contrasts, options.rates, options.seeds[0])
    return results.gather(setting, contrasts, rates)


def _report(
    setting: Setting,
    options: argparse.Namespace,
    contrasts: Sequence[plan.Contrast],
    counts: dict[str, dict[str, dict[str, int]]],
) -> pathlib.Path:
    found = _chosen(setting, options, contrasts)
    return report.write(setting, options, contrasts, counts, found)


def _rows(setting: Setting, options: argparse.Namespace) -> dict[str, dict[str, dict[str, int]]]:
    """Writes the rows of both sets where they are not there; rows -> split -> counts."""
    file = setting.out / "data" / "counts.json"
    if not file.is_file():
        tokenizer = load_tokenizer(hf.resolve(resolve(setting.model)))
        parts = rows.split(options.train, options.test, tokenizer, setting.sizes)
        counts = {}
        for world in WORLDS:
            # In PLAIN nothing is opposed.
            conflict = setting.conflict
            conflict = conflict if world == CONFLICT else dataclasses.replace(conflict, share=0.0)
            made = {
                name: rows.with_conflict(own, conflict, setting.sizes)
                for name, own in parts.items()
            }
            counts[world] = rows.write(rows_file(setting, world, "train").parent, made)
        atomic.write_json(file, counts)
    return json.loads(file.read_text(encoding="utf-8"))


def _setting(options: argparse.Namespace) -> Setting:
    sizes = Sizes(
        max_length=options.max_length,
        train=options.train_rows,
        validation=options.validation_rows,
        test=options.test_rows,
        validation_share=options.validation_share,
        test_share=options.test_share,
        sentence=options.sentence,
        dimensions=tuple(k for k in DIMENSIONS if k in options.dimensions),
    )
    opposed, _, opposing = options.oppose.partition(":")
    try:
        conflict = Conflict(opposed, tuple(opposing), options.conflict)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    absent = [name for name in conflict.dimensions if name not in sizes.dimensions]
    if absent:
        raise SystemExit(f"--oppose: expected dimensions of --dimensions, found {absent[0]}")
    return Setting(
        options.model,
        options.out,
        sizes,
        conflict,
        options.steps,
        options.batch_size,
        options.rank,
        options.upper_layers,
    )


def _check_same(setting: Setting, options: argparse.Namespace) -> None:
    """Refuses another setting of the flags than that which OUT was begun with."""
    file = setting.out / "setting.json"
    fields = dataclasses.asdict(setting) | {"out": None}
    fields |= {"rates": options.rates, "train": options.train, "test": options.test}
    fields |= {"first_seed": options.seeds[0]}
    fields = json.loads(json.dumps(fields))
    if file.is_file():
        changes = differences(json.loads(file.read_text(encoding="utf-8")), fields)
        if changes:
            lines = "\n  ".join(changes)
            raise SystemExit(f"{setting.out} was begun otherwise; choose another --out:\n  {lines}")
    atomic.write_json(file, fields)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", required=True, help="Hugging Face directory, or embedded:NAME")
    add("--train", nargs="+", required=True, help="preference rows")
    add("--test", nargs="*", default=[], help="rows whose prompts are held out, beside a share")
    add("--out", type=pathlib.Path, required=True)
    add("--hours", type=float, required=True, help="until it stops and reports")
    add("--oppose", default="A:E", help="who opposes whom: T:EC, rows of T by E and by C")
    add("--conflict", type=float, default=1.0, help="share of the sentences that are opposed")
    add("--dimensions", nargs="+", choices=DIMENSIONS, default=list(DIMENSIONS), help="to learn")
    add("--rows", nargs="+", choices=WORLDS, default=list(WORLDS), help="sets of rows")
    add("--methods", nargs="+", choices=ENTRIES, default=list(ENTRIES))
    add("--rates", type=float, nargs="+", default=[2e-4, 6e-4], help="learning rates to try")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="the first one chooses the rate")
    add("--steps", type=int, default=64, help="of each run")
    add("--batch_size", type=int, default=16)
    add("--rank", type=int, default=16, help="of LoRA")
    add("--upper_layers", type=int, help="LoRA in so many alone, the others' states kept: cheaper")
    add("--max_length", type=int, default=384, help="tokens of a prompt and a reply")
    add("--train_rows", type=int, default=1024)
    add("--validation_rows", type=int, default=40, help="of each dimension")
    add("--test_rows", type=int, default=150, help="of each dimension")
    add("--validation_share", type=float, default=0.25, help="of each dimension's prompts")
    add("--test_share", type=float, default=0.25, help="of each dimension's prompts, beside --test")
    add("--sentence", type=int, default=12, help="words that a reply must have to be opposed")
    behaviour.add_arguments(parser)
    return parser


if __name__ == "__main__":
    main()
