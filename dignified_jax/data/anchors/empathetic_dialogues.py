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
from dignified_jax.data.bad_rows import Judged
from dignified_jax.data.schema import BadRowsError, PreferenceRow, RowProblem, shorten
from dignified_jax.data.sources import RawRecord

COLUMNS = (
    *("conv_id", "utterance_idx", "context", "prompt"),
    *("speaker_idx", "utterance", "selfeval", "tags"),
)
_Line = tuple[int, str, list[str]]  # row, the line itself, its cells


def read(source: str | Path) -> list[Judged]:
    """Every conversation, judged; its row is that of its first utterance (header not counted).

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
        _judge(str(source), list(conversation))
        for _, conversation in itertools.groupby(cut, key=lambda line: line[2][0])
    ]


def _judge(file: str, lines: Sequence[_Line]) -> Judged:
    record = RawRecord(file, lines[0][0], {}, "\n".join(line for _, line, _ in lines))
    problems: list[RowProblem] = []
    for row, line, cells in lines:
        # A ninth cell holds the candidate replies of the validation and test files.
        if len(cells) not in (8, 9):
            found = f"{len(cells)} in {shorten(line)}"
            problems.append(RowProblem(file, row, "row", "8 or 9 cells", found))
    if problems:
        return Judged(record, [], problems)
    turns = [dict(zip(COLUMNS, cells, strict=False)) for _, _, cells in lines[:2]]
    found: list[list[Found]] = [[] for _ in turns]
    texts = [filled(turn, "utterance", of_turn) for turn, of_turn in zip(turns, found, strict=True)]
    for number, (turn, of_turn) in enumerate(zip(turns, found, strict=True), 1):
        if turn["utterance_idx"] != str(number):
            of_turn.append(("utterance_idx", str(number), shorten(turn["utterance_idx"])))
    if len(turns) < 2:
        found[0].append(("conv_id", "a reply in the next row", "a conversation of one utterance"))
    elif turns[0]["speaker_idx"] == turns[1]["speaker_idx"]:
        found[1].append(("speaker_idx", "another speaker", shorten(turns[1]["speaker_idx"])))
    problems = [
        RowProblem(file, row, *each)
        for (row, _, _), of_turn in zip(lines, found, strict=False)
        for each in of_turn
    ]
    if problems:
        return Judged(record, [], problems)
    prompt, golden = (text.replace("_comma_", ",").strip() for text in texts)
    row = PreferenceRow(
        prompt, golden, {}, context="empathetic_dialogues", trigger=turns[0]["context"]
    )
    return Judged(record, [row], [])
