"""EmpatheticDialogues: a speaker tells of a situation and a listener answers.

The publisher's CSV has one utterance a line and writes commas within a text as "_comma_". Its
quotation marks are the texts' own and often stand alone, so a line is cut at every comma and no
quoting is undone. A conversation's first utterance is the prompt, the listener's reply to it is
golden; what comes after would need a prompt of several turns. Rashkin et al., "Towards Empathetic
Open-domain Conversation Models" (2019).
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

from dignified_jax.data.anchors.fields import Found, filled
from dignified_jax.data.rejected import CheckedRecord
from dignified_jax.data.schema import BadRowsError, PreferenceRow, RowProblem, shorten
from dignified_jax.data.sources import RawRecord

KIND = "empathetic_dialogues"
COLUMNS = (
    *("conv_id", "utterance_idx", "context", "prompt"),
    *("speaker_idx", "utterance", "selfeval", "tags"),
)
_Line = tuple[int, str, list[str]]  # row, the line itself, its cells


def read(source: str | Path) -> list[CheckedRecord]:
    """Every conversation, checked; its row is that of its first utterance (header not counted).

    Raises:
      BadRowsError: the header is not the publisher's.
    """
    # Bytes that are not UTF-8 become surrogates, which are reported where they stand.
    text = Path(source).read_bytes().decode("utf-8", "surrogateescape")
    header, *lines = text.removeprefix("\ufeff").rstrip("\r\n").split("\n")
    if tuple(header.rstrip("\r").split(",")) != COLUMNS:
        raise BadRowsError(
            [RowProblem(str(source), 0, "header", ",".join(COLUMNS), shorten(header))]
        )
    cut = [(row, line, line.rstrip("\r").split(",")) for row, line in enumerate(lines, 1)]
    return [
        _checked(str(source), list(conversation))
        for _, conversation in itertools.groupby(cut, key=lambda line: line[2][0])
    ]


def _checked(file: str, lines: Sequence[_Line]) -> CheckedRecord:
    record = RawRecord(file, lines[0][0], {}, "\n".join(line for _, line, _ in lines))
    # A ninth cell holds the candidate replies of the validation and test files.
    found = [
        (row, ("row", "8 or 9 cells", f"{len(cells)} in {shorten(line)}"))
        for row, line, cells in lines
        if len(cells) not in (8, 9)
    ]
    turns = [] if found else [dict(zip(COLUMNS, cells, strict=False)) for _, _, cells in lines]
    for number in range(min(len(turns), 2)):
        found += [(lines[number][0], each) for each in _turn_problems(turns, number)]
    if found:
        return CheckedRecord(record, [], [RowProblem(file, row, *each) for row, each in found])
    prompt, golden = (turn["utterance"].replace("_comma_", ",").strip() for turn in turns[:2])
    kept = PreferenceRow(prompt, golden, {}, context=KIND, trigger=turns[0]["context"])
    return CheckedRecord(record, [kept], [])


def _turn_problems(turns: Sequence[dict[str, str]], number: int) -> list[Found]:
    """Lists the problems of the first utterance of a conversation (number 0) or of its reply."""
    found: list[Found] = []
    turn = turns[number]
    filled(turn, "utterance", found)
    if turn["utterance_idx"] != str(number + 1):
        found.append(("utterance_idx", str(number + 1), shorten(turn["utterance_idx"])))
    if len(turns) < 2:
        found.append(("conv_id", "a reply in the next row", "a conversation of one utterance"))
    elif number and turn["speaker_idx"] == turns[0]["speaker_idx"]:
        found.append(("speaker_idx", "another speaker", shorten(turn["speaker_idx"])))
    return found
