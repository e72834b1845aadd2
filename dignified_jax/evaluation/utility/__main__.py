"""Run general benchmarks on a model: MMLU, BBH and any task of lm-evaluation-harness.

example, on a file of tasks of one's own (a task of the hub needs none):
  python -m dignified_jax.evaluation.utility --model path/to/model --tasks mmlu,bbh --out utility
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import sys
from collections.abc import Sequence

from dignified_jax.console import entry


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status, 1 where a model or task can't be used."""
    options = _parser().parse_args(arguments)
    from dignified_jax.console.labels import printable_lines
    from dignified_jax.console.safe_stream import SafeStream

    try:
        with contextlib.redirect_stdout(SafeStream(sys.stdout)):
            _run(options)
            sys.stdout.flush()
    except (ValueError, OSError) as error:
        print(printable_lines(f"error: {error}"), file=SafeStream(sys.stderr))
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    from dignified_jax.evaluation import models
    from dignified_jax.evaluation.utility import benchmarks
    from dignified_jax.files import atomic

    if options.chat_template_kwargs is not None and not options.chat_template:
        raise ValueError("--chat_template_kwargs has no meaning without --chat_template")
    out = None if options.out is None else pathlib.Path(options.out)
    if out is not None:  # before the work, so that none is lost
        out.mkdir(parents=True, exist_ok=True)
    model = models.load(
        *(options.name or options.model, options.model, options.dtype),
        template_kwargs=options.chat_template_kwargs,
    )
    found = benchmarks.run(
        model,
        options.tasks,
        include=options.include,
        limit=options.limit,
        few_shots=options.num_fewshot,
        chat_template=options.chat_template,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    table = benchmarks.tabulate(found, model.name)
    if out is not None:
        atomic.write_text(out / "utility.csv", table.csv(), "backslashreplace")
        text = json.dumps(found, default=str, indent=1)
        atomic.write_text(out / "results.json", text + "\n", "backslashreplace")
    print(table.text())


def _parser() -> argparse.ArgumentParser:
    from dignified_jax.generation.flags import add_sampled_model
    from dignified_jax.typed_config import count_argument, path_argument

    parser = argparse.ArgumentParser(
        prog="python -m dignified_jax.evaluation.utility",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_sampled_model(parser)
    add = parser.add_argument
    add("--tasks", required=True, type=_names, metavar="NAME,NAME", help="of lm_eval, or your own")
    add("--include", type=path_argument, metavar="DIR", help="of task files of your own (YAML)")
    add("--out", type=path_argument, metavar="DIR", help="for utility.csv and results.json")
    add("--limit", type=count_argument, help="documents of each task, the first ones")
    add("--num_fewshot", type=int, help="worked examples before each; default as the task says")
    add("--chat_template", action="store_true", help="contexts are turns of a conversation")
    add("--seed", type=int, default=0, help="of the choice of worked examples")
    add("--dtype", choices=("float32", "bfloat16"), default="float32", help="default float32")
    return parser


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("expected names of tasks, found none")
    return names


if __name__ == "__main__":
    entry.run(main)
