"""WritingPrompts: prompts for stories, and stories that people wrote to them.

Line n of NAME.wp_source is the prompt of the story in line n of NAME.wp_target; "<newline>"
stands for a line break. The texts stay tokenised as published (spaces before punctuation). Fan et
al., "Hierarchical Neural Story Generation" (2018).
"""

from pathlib import Path

from dignified_jax.data.anchors.fields import filled
from dignified_jax.data.rejected import CheckedRecord
from dignified_jax.data.schema import BadRowsError, PreferenceRow, RowProblem
from dignified_jax.data.sources import RawRecord


def read(source: str | Path) -> list[CheckedRecord]:
    """Every pair of lines, checked.

    Raises:
      BadRowsError: the files do not have the same number of lines.
      FileNotFoundError: one of them is missing.
      ValueError: `source` is not a .wp_source file.
    """
    prompts = Path(source)
    if prompts.suffix != ".wp_source":
        raise ValueError(f"{source}: expected a .wp_source file, found {prompts.suffix!r}")
    files = (prompts, prompts.with_suffix(".wp_target"))
    columns = [_lines(file) for file in files]
    if len(columns[0]) != len(columns[1]):
        expected = f"{len(columns[0])} lines, as in {files[0].name}"
        problem = RowProblem(str(files[1]), 0, "file", expected, f"{len(columns[1])}")
        raise BadRowsError([problem])
    names = [str(file) for file in files]
    return [_checked(names, row, pair) for row, pair in enumerate(zip(*columns, strict=True), 1)]


def _lines(file: Path) -> list[str]:
    # Only \n ends a line: str.splitlines would also cut at U+2028 or \x85 inside a text.
    text = file.read_bytes().decode("utf-8", "surrogateescape")
    text = text.removeprefix("\ufeff").removesuffix("\n")
    return text.split("\n") if text else []


def _checked(files: list[str], row: int, pair: tuple[str, str]) -> CheckedRecord:
    problems: list[RowProblem] = []
    texts = []
    for file, line in zip(files, pair, strict=True):
        found: list[tuple[str, str, str]] = []
        texts.append(filled({"line": _unescape(line)}, "line", found))
        problems += [RowProblem(file, row, *each) for each in found]
    record = RawRecord(files[0], row, {}, "\n".join(pair))
    if problems:
        return CheckedRecord(record, [], problems)
    return CheckedRecord(record, [PreferenceRow(*texts, {}, context="writing_prompts")], [])


def _unescape(line: str) -> str:
    return "\n".join(part.strip() for part in line.split("<newline>")).strip()
