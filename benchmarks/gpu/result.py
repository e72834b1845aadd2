"""One measured value, how a part hands it to the command, and the tables made of all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

_MARK = "RESULT "
_STATES = {True: "ok", False: "FAILED", None: ""}


@dataclasses.dataclass(frozen=True)
class Result:
    """One line of the report.

    Attributes:
      part: what it belongs to.
      name: what was checked or measured.
      value: the number; None where there is none.
      unit: of the number.
      passed: of a check; None of a measurement.
      note: what else is to be said, such as the bound of a check.
    """

    part: str
    name: str
    value: float | None = None
    unit: str = ""
    passed: bool | None = None
    note: str = ""


def emit(result: Result) -> None:
    """Prints a result for the command to read."""
    print(_MARK + json.dumps(dataclasses.asdict(result)), flush=True)


def read(line: str) -> Result | None:
    """The result that a line of a part's output holds, if it does."""
    return Result(**json.loads(line[len(_MARK) :])) if line.startswith(_MARK) else None


def markdown(head: Sequence[str], results: Sequence[Result]) -> str:
    """The report: what was run, and a table a part."""
    lines = ["# One GPU", "", *head]
    for part in dict.fromkeys(result.part for result in results):
        lines += ["", f"## {part}", "", "| | value | unit | | |", "|---|---|---|---|---|"]
        for result in results:
            if result.part == part:
                value = "" if result.value is None else f"{result.value:.4g}"
                note = result.note.replace("|", "\\|").replace("\n", " ")
                cells = (result.name, value, result.unit, _STATES[result.passed], note)
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
