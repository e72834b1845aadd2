"""Answers in free text by normalised strings, and letters of choices.

An answer is stated where its words stand in the text one after another, unless words just before
or just after them deny it. Nothing is guessed: a text that states no known answer, or both a right
and a wrong one, is neither right nor wrong.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence, Set
from typing import Literal

Stated = Literal["correct", "wrong", "both", "neither"]

_ARTICLES = frozenset(("a", "an", "the"))
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "who whom whose what which when where why how i me my we us our you your he him his she "
        "her it its they them their this that these those one ones some any all none no not yes "
        "and or but if so then there here is are was were be do does did can will would have "
        "has had may might must of in on at to for from by with as up down out over other "
        "others same",
    )
)
"""Words that any text has: without its article a name such as "The Who" can't be told from them."""
_DENIALS = re.compile(
    r"\b(?:not|isn't|wasn't|aren't|weren't|doesn't|don't|didn't|never|nor|rather than|instead of)"
    r"\b(?!\s+(?:sure|only))"
)
_DENIAL_WORDS = 4
_DENIED_AFTER = re.compile(
    r"(?:(?:is|was|are|were) (?:not|wrong|incorrect|false)|isn't|wasn't|aren't|weren't)\b(?! only)"
)
_TURNS = frozenset((",", "but"))
"""What ends a denial, where it follows the answer that was denied: "not Lyon, it's Paris"."""
_TOKEN = re.compile(r"[^\W_]+(?:['.,][^\W_]+)*|[.!?;:,]")
_STOPS = frozenset(".!?;:")
_MARKS = _STOPS | {","}
_UNSURE = re.compile(
    r"\b(?:not|never|(?:don't|do not|didn't|can't|cannot) (?:think|believe|say|agree)(?: that)?)"
    r"(?: the| my| your)?(?: [\w-]+)?\s*$",
    re.IGNORECASE,
)
"""Words before "answer is A" or "option A" that deny it."""
_NAMED = r"(?i:answer|choice|option)"
_WRONG = (
    r"[)\]*\"]*\s+(?i:(?:is|was|seems)?\s*(?:clearly |also |just )?(?:wrong|incorrect|false|not\b))"
)


def normalised(text: str) -> list[str]:
    """Returns the words of a text in lower case, without accents, articles and punctuation but for
    the ends of sentences and clauses.
    """
    return [token for token in _tokens(text) if token != ","]


def _tokens(text: str) -> list[str]:
    """`normalised`, with commas."""
    return [token for token, _, _ in _written(text)]


def _written(text: str) -> list[tuple[str, bool, bool]]:
    """(token of `_tokens`, whether an article stands before it, whether it begins in capitals)."""
    text = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
    text = "".join(each for each in text if not unicodedata.combining(each))
    found, article = [], False
    for written in _TOKEN.findall(text):
        token = written.casefold()
        if token not in _ARTICLES:
            found.append((token, article, written[0].isupper()))
        article = token in _ARTICLES
    return found


def stated(text: str, correct: Sequence[str], wrong: Sequence[str]) -> Stated:
    """Returns which of the answers a text states.

    An answer inside of a longer one of the other side, as "Paris" in "Paris, Texas", does not
    count. Articles don't matter, but where an answer is one word and its article: "The Doors" are
    written with a capital, unless all of the text is in small letters, and "The Who" with "the".

    Args:
      text: a response.
      correct: accepted answers.
      wrong: others.
    """
    written = _written(text)
    tokens = [token for token, _, _ in written]
    right, bad = _spans(written, correct), _spans(written, wrong)
    ends = {end for _, end in (*right, *bad)}
    right, bad = ([s for s in own if not _denied(tokens, *s, ends)] for own in (right, bad))
    has_right = any(not any(_inside(span, other) for other in bad) for span in right)
    has_wrong = any(not any(_inside(span, other) for other in right) for span in bad)
    if has_right and has_wrong:
        return "both"
    return "correct" if has_right else "wrong" if has_wrong else "neither"


def chosen_letter(text: str, options: Mapping[str, str]) -> str | None:
    """Returns the letter of the option that a text gives as its answer; None if it gives none.

    Looked for in turn: what "answer is" or the like says last; a text that begins with a letter;
    the one letter of an "option A" or the like that is not called wrong; the one letter in
    brackets; the one option whose text is stated.

    Args:
      text: a response.
      options: letter -> text; the text may be empty.
    """
    text, letters = text.replace("\u2019", "'"), "".join(options)
    letter = rf"[\s*:(\[]*([{letters}])\b(?!')"
    alone = rf"(?!\W+or\W+[{letters}]\b)"
    says = rf"{_NAMED}(?:\W*?:|\W+(?i:is|would be|should be)\b){letter}{alone}"
    said = _not_denied(says, text)
    if said:
        return said[-1]
    first = re.match(rf"[\s*(\[]*([{letters}])(?:[)\].:,*]|\s*$|\s*\n)", text)
    if first:
        return first[1]
    named = set(_not_denied(rf"{_NAMED}{letter}(?!{_WRONG})", text))
    if len(named) == 1:
        return named.pop()
    bracketed = set(re.findall(rf"\(([{letters}])\)", text))
    if len(bracketed) == 1:
        return bracketed.pop()
    stated_ones = [
        name
        for name, option in options.items()
        if option and stated(text, [option], []) != "neither"
    ]
    return stated_ones[0] if len(stated_ones) == 1 and not bracketed else None


def _not_denied(pattern: str, text: str) -> list[str]:
    """The letters that a pattern finds, but for those that the words before deny."""
    found = re.finditer(pattern, text)
    return [match[1] for match in found if not _UNSURE.search(text[: match.start()])]


def _spans(
    written: Sequence[tuple[str, bool, bool]], answers: Sequence[str]
) -> list[tuple[int, int]]:
    """(start, end) of every place where an answer stands in `_written` tokens."""
    kept = [at for at, (token, _, _) in enumerate(written) if token not in _MARKS]
    plain = [written[at][0] for at in kept]
    small = not any(capital for _, _, capital in written)
    found = []
    for answer in answers:
        wanted = [word for word in _written(answer) if word[0] not in _MARKS]
        words = [word for word, _, _ in wanted]
        for at in range(len(plain) - len(words) + 1 if words else 0):
            if plain[at : at + len(words)] != words:
                continue
            if len(words) == 1 and not _same_name(wanted[0], written[kept[at]], small):
                continue
            found.append((kept[at], kept[at + len(words) - 1] + 1))
    return found


def _same_name(answer: tuple[str, bool, bool], there: tuple[str, bool, bool], small: bool) -> bool:
    """Says that a word may stand for an answer of this one word, if that has an article.

    Args:
      answer, there: as in `_written`, of the same word.
      small: whether all of the text is in small letters.
    """
    word, article, capital = answer
    if not article:
        return True
    if word in _FUNCTION_WORDS:
        return there[1]
    return there[2] or small or not capital


def _denied(tokens: Sequence[str], start: int, end: int, ends: Set[int]) -> bool:
    """Says that words of its sentence deny what stands from `start` to `end`.

    Args:
      tokens: of the text.
      start, end: of the answer.
      ends: of all answers.
    """
    if _DENIED_AFTER.match(" ".join(tokens[end : end + 3])):
        return True
    before: list[str] = []
    for at in range(start - 1, -1, -1):
        if tokens[at] in _STOPS or len(before) == _DENIAL_WORDS:
            break
        if tokens[at] in _TURNS and at in ends and tokens[at + 1] not in ("or", "nor"):
            break
        if tokens[at] != ",":
            before.insert(0, tokens[at])
    return _DENIALS.search(" ".join(before)) is not None


def _inside(span: tuple[int, int], other: tuple[int, int]) -> bool:
    longer = other[1] - other[0] > span[1] - span[0]
    return longer and other[0] <= span[0] and span[1] <= other[1]
