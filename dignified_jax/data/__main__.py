"""Describe preference data, learn a tokenizer from it, or clear the cache of token ids.

example:
  python -m dignified_jax.data stats train.jsonl test.jsonl
"""

import argparse
import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Sequence

from dignified_jax.console import entry
from dignified_jax.console.labels import printable_lines
from dignified_jax.console.safe_stream import SafeStream
from dignified_jax.console.waiting import waiting
from dignified_jax.data import formats
from dignified_jax.data.formats import FORMATS
from dignified_jax.data.rejected import BadRowPolicy
from dignified_jax.data.rows import DIMENSIONS, BadRowsError, PreferenceRow, stream_rows
from dignified_jax.data.schema.conversation import messages_of
from dignified_jax.data.statistics import Statistics, count_words, summarise, token_counter
from dignified_jax.data.store import cache
from dignified_jax.data.tokenize import encode
from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.data.train_tokenizer import train_tokenizer
from dignified_jax.embedded import resolve
from dignified_jax.files import owned
from dignified_jax.typed_config import path_argument


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status, 1 where data or arguments are bad."""
    arguments = _parser().parse_args(argv)
    try:
        with contextlib.redirect_stdout(SafeStream(sys.stdout)):
            status = _COMMANDS[arguments.command](arguments)
            sys.stdout.flush()
        return status
    except (ValueError, OSError) as error:
        print(printable_lines(str(error)), file=SafeStream(sys.stderr))
        return 1


def _stats(arguments: argparse.Namespace) -> int:
    measure, unit, tokenizer = count_words, "words", None
    if arguments.tokenizer:
        tokenizer = load_tokenizer(resolve(arguments.tokenizer))
        measure = token_counter(tokenizer)
        unit = f"tokens of {arguments.tokenizer}"
    results: dict[str, Statistics] = {}
    failed = False
    for file in arguments.files:
        try:
            rows = _read(file, arguments)
            if tokenizer is not None and tokenizer.chat_template:
                with waiting(f"tokenising rows of {file}") as progress:
                    encode(rows, tokenizer, progress=progress)  # finds what a run would refuse
            with waiting(f"counting {unit} of {file}", share=True) as count:
                results[file] = summarise(rows, measure, unit, count)
        except BadRowsError as error:  # the other files' bad rows are wanted as well
            print(printable_lines(str(error)), file=SafeStream(sys.stderr))
            failed = True
    if failed:
        return 1
    if arguments.json:
        print(json.dumps({file: dataclasses.asdict(s) for file, s in results.items()}, indent=2))
    else:
        print("\n\n".join(format_statistics(file, s) for file, s in results.items()))
    return 0


def _read(file: str, arguments: argparse.Namespace) -> Sequence[PreferenceRow]:
    form = formats.choose(arguments.format, arguments.dimensions, arguments.dimension)
    return stream_rows(resolve(file), form, BadRowPolicy("error", None), waiting)


def _tokenizer(arguments: argparse.Namespace) -> int:
    with owned.writing(arguments.out, arguments.overwrite) as out:
        rows = _read(arguments.file, arguments)
        with waiting("learning a tokenizer"):
            tokenizer = train_tokenizer(_texts(rows), arguments.vocab_size, out)
    print(f"{arguments.out}: a tokenizer of {len(tokenizer)} tokens from {len(rows)} rows")
    return 0


def _texts(rows: Iterable[PreferenceRow]) -> Iterator[str]:
    for row in rows:
        yield from (message.content for message in messages_of(row.prompt))
        yield from (row.golden, *row.rejects.values())


def _cache(arguments: argparse.Namespace) -> int:
    directory = cache.token_directory(arguments.cache)
    sizes = cache.sizes(directory)
    print(f"{directory}: {len(sizes)} entries, {sum(sizes) / 2**30:.2f} GiB")
    if arguments.clear:
        print(f"{cache.clear(directory)} removed")
    return 0


def format_statistics(file: str, statistics: Statistics) -> str:
    """Returns statistics as aligned plain text, several lines."""
    width = max(12, *(len(name) + 2 for name in (*statistics.lengths, *statistics.rows)))
    lines = [f"{file}", f"  {'samples':<20}{statistics.samples:>8}"]
    for label, rows in (
        ("of several turns", statistics.conversations),
        ("with a system turn", statistics.systems),
    ):
        lines += [f"  {label:<20}{rows:>8}"] if rows else []
    for count, percent in statistics.cardinality.items():
        label = f"{count} active dimension{'' if count == 1 else 's'}"
        lines.append(f"  {label:<20}{percent:>8.1f} %")
    lines.append(f"\n  length in {statistics.unit}")
    lines.append(f"  {'':<{width}}{'mean':>8}{'median':>8}{'p95':>8}{'max':>8}")
    for name, length in statistics.lengths.items():
        figures = f"{length.mean:>8.1f}{length.median:>8.1f}{length.p95:>8.1f}{length.max:>8}"
        lines.append(f"  {name:<{width}}{figures}")
    lines.append(f"\n  {'dimension':<{width}}{'rows':>8}{'the longer answer is golden':>30}")
    for dimension, rows in statistics.rows.items():
        baseline = statistics.longer_is_golden.get(dimension)
        accuracy = f"{baseline.accuracy:.3f} of {baseline.pairs} pairs" if baseline else "-"
        lines.append(f"  {dimension:<{width}}{rows:>8}{accuracy:>30}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = _described(argparse.ArgumentParser(prog="python -m dignified_jax.data"), __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    stats = _described(
        commands.add_parser("stats", help="samples, masks, lengths, the length baseline"),
        "Print the figures of each data set; its bad rows, if any, and exit status 1.\n\n"
        "example:\n  python -m dignified_jax.data stats train.jsonl --tokenizer ./tokenizer",
    )
    _add_rows(stats, "files", nargs="+")
    stats.add_argument(
        "--tokenizer", type=path_argument, metavar="DIR", help="count its tokens instead of words"
    )
    stats.add_argument("--json", action="store_true", help="print JSON instead of text")
    tokenizer = _described(
        commands.add_parser("tokenizer", help="learn a byte-level BPE tokenizer"),
        "Learn a tokenizer from the texts of a data set and save it.\n\nexample:\n"
        "  python -m dignified_jax.data tokenizer train.jsonl --vocab-size 4096 --out ./tokenizer",
    )
    _add_rows(tokenizer, "file")
    tokenizer.add_argument("--vocab-size", type=int, required=True, metavar="N")
    tokenizer.add_argument(
        "--out", required=True, type=path_argument, metavar="DIR", help="where to save it"
    )
    tokenizer.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what was saved in the directory before; other files stay",
    )
    kept = _described(
        commands.add_parser("cache", help="the token ids that runs have kept"),
        "Print where token ids are kept, and how much; remove them.\n\nexample:\n"
        "  python -m dignified_jax.data cache --clear",
    )
    kept.add_argument(
        "--cache",
        type=path_argument,
        metavar="DIR",
        help="data.cache of the runs (default: DIGNIFIED_JAX_CACHE, else ~/.cache/dignified_jax)",
    )
    kept.add_argument("--clear", action="store_true", help="remove all; runs that use them go on")
    return parser


def _add_rows(parser: argparse.ArgumentParser, name: str, nargs: str | None = None) -> None:
    parser.add_argument(
        name,
        nargs=nargs,
        type=path_argument,
        metavar="FILE",
        help="a file, directory, hub id or embedded:NAME",
    )
    parser.add_argument(
        "--dimensions",
        type=lambda text: [name.strip() for name in text.split(",")],
        default=DIMENSIONS,
        metavar="NAME,NAME",
        help=f"what the rejects are of (default: {','.join(DIMENSIONS)})",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="columns golden, mask and reject_NAME, or pairs of chosen and rejected",
    )
    parser.add_argument(
        "--dimension", metavar="NAME", help="that of pairs which have no column dimension"
    )


def _described(parser: argparse.ArgumentParser, text: str) -> argparse.ArgumentParser:
    parser.description = text
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser


_COMMANDS = {"stats": _stats, "tokenizer": _tokenizer, "cache": _cache}


if __name__ == "__main__":
    entry.run(main, without_torch=True)
