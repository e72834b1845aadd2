"""Sequences that are not in memory equal lists."""

import numpy as np
import pytest

from dignified_jax.data.store import texts
from dignified_jax.data.store.texts import Chosen, Spilled, Texts

TEXTS = ["", "ascii", "äöü \u2028", "", "🙂" * 3]


def test_texts():
    encoded = [text.encode() for text in TEXTS]
    content = np.frombuffer(b"".join(encoded), np.uint8)
    lengths = np.array([len(each) for each in encoded], np.int32)
    every = Texts(content, lengths)
    assert list(every) == TEXTS and every[-1] == TEXTS[-1] and every[1:3] == TEXTS[1:3]
    chosen = Texts(content, lengths, np.array([4, 1]))
    assert list(chosen) == [TEXTS[4], TEXTS[1]] and chosen[np.int64(1)] == "ascii"


@pytest.mark.parametrize("in_memory", [0, 600, 10_000])
@pytest.mark.parametrize("count", [0, 1, 511, 512, 513, 2000])
def test_spilled_items_come_back(count, in_memory):
    items = [(number, str(number)) for number in range(count)]
    spilled = Spilled(iter(items), in_memory)
    assert len(spilled) == count and list(spilled) == items
    assert spilled[3:600:7] == items[3:600:7]
    for at in (0, -1, count // 2) if count else ():
        assert spilled[at] == items[at]
    with pytest.raises(IndexError):
        spilled[count]


def test_items_stay_in_memory_where_no_file_can_be_written(monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(texts.pickle, "dump", full)
        spilled = Spilled(range(2000), 0)
    assert list(spilled) == list(range(2000)) and spilled[1999] == 1999


def test_chosen_items():
    chosen = Chosen(Spilled(range(1000)), np.array([999, 3, 3]))
    assert list(chosen) == [999, 3, 3] and chosen[0:2] == [999, 3] and len(chosen) == 3
