"""Answers in free text by normalised strings, and letters of choices.

An answer is stated where its words stand in the text one after another, unless words just before
them deny it. Nothing is guessed: a text that states no known answer, or both a right and a wrong
one, is neither right nor wrong.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal

Stated = Literal["correct", "wrong", "both", "neither"]

_ARTICLES = frozenset(("a", "an", "the"))
_DENIALS = re.compile(
    r"\b(?:not|isn't|wasn't|aren't|weren't|doesn't|don't|didn't|never|nor|rather than|instead of)"
    r"\b(?!\s+(?:sure|only))"
)
_DENIAL_WORDS = 4
_TOKEN = re.compile(r"[^\W_]+(?:['.,][^\W_]+)*|[.!?;:]")
_STOPS = frozenset(".!?;:")


def normalised(text: str) -> list[str]:
    """Returns the words of a text in lower case, without accents, articles and punctuation but for
    the ends of sentences and clauses.
    """
    text = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
    text = "".join(each for each in text if not unicodedata.combining(each)).casefold()
    return [word for word in _TOKEN.findall(text) if word not in _ARTICLES]


def stated(text: str, correct: Sequence[str], wrong: Sequence[str]) -> Stated:
    """Returns which of the answers a text states.

    An answer inside of a longer one of the other side, as "Paris" in "Paris, Texas", does not
    count.

    Args:
      text: a response.
      correct: accepted answers.
      wrong: others.
    """
    words = normalised(text)
    right, bad = _spans(words, correct), _spans(words, wrong)
    has_right = any(not any(_inside(span, other) for other in bad) for span in right)
    has_wrong = any(not any(_inside(span, other) for other in right) for span in bad)
    if has_right and has_wrong:
        return "both"
    return "correct" if has_right else "wrong" if has_wrong else "neither"


def chosen_letter(text: str, options: Mapping[str, str]) -> str | None:
    """Returns the letter of the option that a text gives as its answer; None if it gives none.

    Looked for in turn: what "answer is" or the like says last; a text that begins with a letter;
    the one letter in brackets; the one option whose text is stated.

    Args:
      text: a response.
      options: letter -> text; the text may be empty.
    """
    letters = "".join(options)
    said = re.findall(
        rf"(?i:answer|choice|option)\W*(?i:is|would be|should be|:)?[\s*:(\[]*([{letters}])\b(?!')",
        text,
    )
    if said:
        return said[-1]
    first = re.match(rf"[\s*(\[]*([{letters}])(?:[)\].:,*]|\s*$|\s*\n)", text)
    if first:
        return first[1]
    bracketed = set(re.findall(rf"\(([{letters}])\)", text))
    if len(bracketed) == 1:
        return bracketed.pop()
    words = normalised(text)
    spans = {letter: _spans(words, [option]) for letter, option in options.items() if option}
    found = [letter for letter, own in spans.items() if own]
    return found[0] if len(found) == 1 and not bracketed else None


def _spans(words: Sequence[str], answers: Sequence[str]) -> list[tuple[int, int]]:
    """(start, end) of every place where an answer stands and is not denied."""
    kept = [at for at, word in enumerate(words) if word not in _STOPS]
    plain = [words[at] for at in kept]
    found = []
    for answer in answers:
        wanted = [word for word in normalised(answer) if word not in _STOPS]
        for at in range(len(plain) - len(wanted) + 1 if wanted else 0):
            if plain[at : at + len(wanted)] == wanted and not _denied(words, kept[at]):
                found.append((at, at + len(wanted)))
    return found


def _denied(words: Sequence[str], at: int) -> bool:
    """Says that the words before a place, in its sentence, deny what stands there."""
    before = []
    for word in reversed(words[max(at - _DENIAL_WORDS, 0) : at]):
        if word in _STOPS:
            break
        before.append(word)
    return _DENIALS.search(" ".join(reversed(before))) is not None


def _inside(span: tuple[int, int], other: tuple[int, int]) -> bool:
    longer = other[1] - other[0] > span[1] - span[0]
    return longer and other[0] <= span[0] and span[1] <= other[1]
