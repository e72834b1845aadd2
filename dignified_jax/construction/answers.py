"""Models' answers as material: read strictly, with a reason for whatever can't be used.

An answer is a stranger's text. What a terminal would obey, what no tokenizer takes, an object with
a key twice or a text of another script than its question is not mended but refused, and asked for
again.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from dignified_jax.data.schema import shorten
from dignified_jax.data.schema.cells import is_blank
from dignified_jax.endpoints.json_answer import Twice, find_object

LONGEST_TEXT = 12_000
"""Characters of a question or a reply."""
_LETTERS_TO_TELL = 10
_PLAIN_CONTROLS = "\n\t"
# Bidirectional marks: what is shown would not be what is there. Joiners of emoji and scripts stay.
_BIDIRECTIONAL = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


class Unusable(Exception):
    """An answer that can't be used; the text is the reason."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A situation and what a person in it asks.

    Attributes:
      context: the situation.
      question: the whole message, options included.
      triggers: active dimension -> what makes it necessary.
    """

    context: str
    question: str
    triggers: Mapping[str, str]


def scenario_keys(selection: bool) -> tuple[str, ...]:
    """Returns the keys of the answer that `read_scenario` reads."""
    return ("context", "question", *(("options",) if selection else ()), "triggers")


def read_scenario(answer: str, mask: Sequence[str], selection: bool) -> Scenario:
    """Reads a scenario.

    Args:
      answer: of the model.
      mask: active dimensions.
      selection: whether the question has options; they are put below it, with letters.

    Raises:
      Unusable: says why.
    """
    found = _object(answer, scenario_keys(selection))
    context, question = (_text(found[name], name) for name in ("context", "question"))
    triggers = found["triggers"]
    if not isinstance(triggers, Mapping) or set(triggers) != set(mask):
        raise Unusable(f"triggers: expected one of each of {', '.join(mask)}")
    if selection:
        options = found["options"]
        if not isinstance(options, list) or not 2 <= len(options) <= 6:
            raise Unusable(f"options: expected a list of 2 to 6, found {shorten(options, 40)}")
        texts = [_text(option, "options") for option in options]
        if len({text.casefold() for text in texts}) < len(texts):
            raise Unusable("options: expected distinct texts")
        lines = [f"({chr(ord('A') + at)}) {text}" for at, text in enumerate(texts)]
        question = "\n".join([question, "", *lines])
    return Scenario(context, question, {d: _text(triggers[d], f"triggers.{d}") for d in mask})


def read_reply(answer: str, question: str) -> str:
    """Reads a reply to a question.

    Raises:
      Unusable: says why; the scripts of question and reply differ, among it.
    """
    reply = _text(_object(answer, ("reply",))["reply"], "reply")
    scripts = (script(question), script(reply))
    if all(scripts) and scripts[0] != scripts[1]:
        raise Unusable(f"reply: expected the script of the question, {scripts[0]}, found another")
    return reply


def read_verdicts(answer: str, names: Sequence[str]) -> dict[str, int]:
    """Reads 0 or 1 of every criterion.

    Raises:
      Unusable: says why.
    """
    found = _object(answer, names)
    for name in names:
        if type(found[name]) is not int or found[name] not in (0, 1):
            raise Unusable(f"{name}: expected 0 or 1, found {shorten(found[name], 30)}")
    return {name: found[name] for name in names}


def read_scores(answer: str, dimensions: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Reads the scores, 1 to 5, of two replies on every dimension.

    Raises:
      Unusable: says why.
    """
    found = _object(answer, dimensions)
    for name in dimensions:
        pair = found[name]
        whole = isinstance(pair, list) and len(pair) == 2 and all(type(s) is int for s in pair)
        if not whole or not all(1 <= score <= 5 for score in pair):
            raise Unusable(f"{name}: expected two scores of 1 to 5, found {shorten(pair, 30)}")
    return {name: (found[name][0], found[name][1]) for name in dimensions}


def script(text: str) -> str:
    """Returns the script of most letters, such as "LATIN"; "" of texts with too few to tell."""
    counts = Counter(
        unicodedata.name(letter, "").partition(" ")[0] for letter in text if letter.isalpha()
    )
    counts["CJK"] += counts.pop("HIRAGANA", 0) + counts.pop("KATAKANA", 0)
    name, most = max(counts.items(), key=lambda pair: pair[1])
    return name if most >= _LETTERS_TO_TELL else ""


def _object(answer: str, keys: Sequence[str]) -> Mapping[str, object]:
    """The object with exactly these keys."""
    found, reason = find_object(answer, keys, "key")
    if found is None:
        raise Unusable(reason)
    if set(found) != set(keys):
        different = sorted(set(keys) ^ set(found))
        raise Unusable(f"expected the keys {', '.join(keys)}; differs in {shorten(different)}")
    return found


def _text(value: object, name: str) -> str:
    """A text that may be shown, tokenised and trained on."""
    if isinstance(value, Twice):
        raise Unusable(f"{name}: the key twice")
    if not isinstance(value, str) or is_blank(value):
        raise Unusable(f"{name}: expected a text, found {shorten(value, 30)}")
    text = value.replace("\r\n", "\n").strip()
    if len(text) > LONGEST_TEXT:
        raise Unusable(f"{name}: more than {LONGEST_TEXT} characters")
    for letter in text:
        kind = unicodedata.category(letter)
        if letter in _BIDIRECTIONAL or (kind in ("Cc", "Cs") and letter not in _PLAIN_CONTROLS):
            raise Unusable(f"{name}: a character that is not text, {letter!a}")
    return text
