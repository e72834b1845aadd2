"""Preference rows: a prompt, its golden response and rejects."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dignified_jax.data.schema.cells import Found, read_prompt, read_reply
from dignified_jax.data.schema.conversation import Prompt, is_read
from dignified_jax.data.schema.dimensions import DIMENSIONS


@dataclass(frozen=True)
class PreferenceRow:
    """One prompt, its golden response and one reject per active dimension.

    Attributes:
      prompt: the user's text; or the turns of a conversation (`Message`, or mappings with "role"
        and "content"), the user's last. A single user's turn is kept as its text.
      golden: the response that is good in every active dimension. As the rejects: text, or one
        turn of the assistant, which is kept as its text.
      rejects: dimension -> the response that fails in it; active dimensions only. Empty for a
        supervised example (`read_anchors`), which only fine-tuning on golden can use.
      seed_scene, context, trigger: where the row comes from; never shown to a model.
      dimensions: the set that the data are about, in its order; the same for all rows.
      file, row: the source as the user named it, and the 1-based row (JSONL: line) in it; empty
        and 0 for a row made otherwise. They don't count in comparisons.
      pairs: dimension -> row of the pair that its reject comes from, where a row was joined out
        of pairs (columns "chosen" and "rejected"); empty where it was a record of its own.

    Raises:
      ValueError: a key of `rejects` is not one of `dimensions`; turns that are no conversation.
    """

    prompt: Prompt
    golden: str
    rejects: Mapping[str, str]
    seed_scene: str = ""
    context: str = ""
    trigger: str = ""
    dimensions: tuple[str, ...] = DIMENSIONS
    file: str = field(default="", compare=False, repr=False)
    row: int = field(default=0, compare=False, repr=False)
    pairs: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        unknown = [key for key in self.rejects if key not in self.dimensions]
        if unknown:
            raise ValueError(f"rejects: expected keys out of {self.dimensions}, found {unknown}")
        read = isinstance(self.prompt, str) or is_read(self.prompt)
        if not (read and all(type(text) is str for text in (self.golden, *self.rejects.values()))):
            self._read_turns()

    def _read_turns(self) -> None:
        """Replaces prompt and replies that are turns by what is kept of them."""
        found: list[Found] = []
        prompt = read_prompt("prompt", self.prompt, found)
        golden = read_reply("golden", self.golden, found)
        rejects = {d: read_reply(f"reject_{d}", text, found) for d, text in self.rejects.items()}
        if found:
            raise ValueError("; ".join(f"{f}: expected {e}, found {w}" for f, e, w in found))
        for name, value in (("prompt", prompt), ("golden", golden), ("rejects", rejects)):
            object.__setattr__(self, name, value)

    def place(self, index: int) -> tuple[str, int]:
        """Returns file and row for messages; of a row without a file, its place in a list."""
        return (self.file, self.row) if self.file else (f"rows[{index}]", 0)

    def cell(self, name: str) -> tuple[int, str]:
        """Returns row and column of the source that hold the prompt, golden or a reject.

        Args:
          name: "prompt", "golden" or a dimension.
        """
        if name == "prompt":
            return self.row, name
        if self.pairs:
            return (self.row, "chosen") if name == "golden" else (self.pairs[name], "rejected")
        return self.row, name if name == "golden" else f"reject_{name}"

    @property
    def mask(self) -> tuple[str, ...]:
        """The active dimensions, in the order of `dimensions`."""
        return tuple(dimension for dimension in self.dimensions if dimension in self.rejects)

    def response(self, name: str) -> str | None:
        """Returns golden or the reject of a dimension, None where that is inactive."""
        return self.golden if name == "golden" else self.rejects.get(name)


def dimensions_of(rows: Iterable[PreferenceRow]) -> tuple[str, ...]:
    """Returns the dimensions that all rows are about; of no rows, the default ones.

    Raises:
      ValueError: the rows are about different sets of dimensions.
    """
    found = list(dict.fromkeys(row.dimensions for row in rows))
    if len(found) > 1:
        raise ValueError(f"rows: expected one set of dimensions, found {found[0]} and {found[1]}")
    return found[0] if found else DIMENSIONS
