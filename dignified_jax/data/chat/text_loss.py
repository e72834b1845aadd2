"""Text that a tokenizer can't write: characters that no token, or the unknown token, stands for.

Each distinct character is tried once; only texts that hold a doubtful one, or whose ids hold the
unknown token, are decoded and compared.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from dignified_jax.data.tokenizer import Tokenizer

MOST_LOST = 0.01
"""Share of a text's visible characters that may be lost; beyond it the text is refused."""


class TextLoss:
    """Measures what a tokenizer loses of texts.

    Args:
      tokenizer: a transformers tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._unknown = tokenizer.unk_token_id
        self._kept: dict[str, bool] = {}

    def shares(self, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> list[float]:
        """Returns the share of each text's visible characters that its ids don't hold.

        Args:
          texts: at least part of what was encoded.
          ids: token ids of each text, with whatever stands around it.
        """
        characters = [set(text) for text in texts]
        self._try(set().union(*characters))
        return [
            self._share(text, of_text)
            if self._unknown in of_text or not all(map(self._kept.__getitem__, found))
            else 0.0
            for text, of_text, found in zip(texts, ids, characters, strict=True)
        ]

    def _try(self, characters: set[str]) -> None:
        new = sorted(characters - self._kept.keys())
        if new:
            encoded = self._tokenizer(new, add_special_tokens=False, verbose=False)["input_ids"]
            for character, ids in zip(new, encoded, strict=True):
                self._kept[character] = not self._share(character, ids)

    def _share(self, text: str, ids: Sequence[int]) -> float:
        known = [number for number in ids if number != self._unknown]
        decoded = self._tokenizer.decode(known, clean_up_tokenization_spaces=False)
        wanted = Counter(_visible(text))
        return (wanted - Counter(_visible(decoded))).total() / max(wanted.total(), 1)


def _visible(text: str) -> str:
    """The characters that show, as tokenizers commonly normalise them."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in plain if not c.isspace() and unicodedata.category(c)[0] != "C")
