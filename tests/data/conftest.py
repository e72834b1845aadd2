"""A tokenizer learned from a few invented texts, and rows to use it on."""

import pytest

from dignified_jax.data import PreferenceRow
from dignified_jax.data.train_tokenizer import train_tokenizer

TEXTS = (
    "My neighbour says the boiler will last another winter. Should I believe him?",
    "It may well, but nobody can tell from here: ask a heating engineer to look at it.",
    "It will last exactly eleven more years, you can count on that.",
    "I lost the race by two seconds and I feel rather foolish about the whole thing.",
    "Two seconds after months of work hurts. What would you tell a friend who ran that?",
    "Losing is losing. Train harder next time and stop complaining about it.",
)


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, 400, directory)
    return directory


@pytest.fixture
def tokenizer(tokenizer_dir):
    """A fresh copy for each test, as some change the chat template."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tokenizer_dir)


@pytest.fixture(scope="session")
def rows():
    """Rows of different masks, one of them with all four dimensions."""
    return [
        PreferenceRow(TEXTS[0], TEXTS[1], {"T": TEXTS[2]}),
        PreferenceRow(TEXTS[3], TEXTS[4], {"E": TEXTS[5], "A": "No."}),
        PreferenceRow(
            "Name a boat.",
            "Tern, or Second Wind.",
            {"A": "Great idea, a boat!", "T": "Tern. It never sinks.", "E": "Tern.", "C": "Boat."},
        ),
        PreferenceRow("Is 7 prime?", "Yes: only 1 and 7 divide it.", {"C": "Yes."}),
    ]
