"""Where a rendered text goes on from another, and what stands around a word in it."""

from collections.abc import Sequence


def common_length(left: Sequence[object], right: Sequence[object]) -> int:
    """Returns the length of the longest common beginning."""
    pairs = zip(left, right, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def after(prompt: str, full: str) -> str:
    """Returns what follows a rendered prompt in its whole conversation.

    Raises:
      ValueError: the conversation does not begin with the prompt; shows where they part.
    """
    if full.startswith(prompt):
        return full[len(prompt) :]
    at = common_length(prompt, full)
    raise ValueError(
        "it puts different text before a reply than its generation prompt does: "
        f"after {prompt[max(at - 20, 0) : at]!r} comes {full[at : at + 40]!r} instead of "
        f"{prompt[at : at + 40]!r}"
    )


def around(word: str, text: str, what: str) -> tuple[str, str]:
    """Returns the text before and after the one place of a word; `what` names it in messages.

    Raises:
      ValueError: the word is not there, or stands twice.
    """
    if text.count(word) != 1:
        raise ValueError(f"expected {what} exactly once, found it {text.count(word)} times")
    before, _, behind = text.partition(word)
    return before, behind
