"""A scripted provider without a network, and what makers need."""

import collections
import json

import pytest

from dignified_jax.construction import config, guide, seeds, templates
from dignified_jax.construction.duplicates import TextIndex
from dignified_jax.construction.health import Health, StopRule
from dignified_jax.construction.making.brief import Brief
from dignified_jax.construction.making.rows import RowMaker
from dignified_jax.endpoints.logs import Answer
from tests.oracles import writer_server

ANCHORS = tuple(f"{name}=embedded:personaknob_mini/train.jsonl" for name in "ATEC")


class ScriptedAsker:
    """Answers as `write(prompt, model, number)` says: a text, or None for a call that fails.

    Attributes:
      asked: (stage, request) of every call so far; one that was answered before is no call.
    """

    def __init__(self, write=None):
        self.write = write or (lambda prompt, model, number: valid(prompt))
        self.asked, self._known = [], {}

    def ask(self, stage, requests):
        for request in requests:
            if self._known.get((stage, request)) is None:
                self.asked.append((stage, request))
                text = self.write(request.user, request.model, len(self.asked))
                self._known[stage, request] = None if text is None else Answer(text, "now", "log")
        return [self._known[stage, request] for request in requests]

    def failure(self, stage, model):
        return f"{stage} {model} is out"

    def count(self):
        return collections.Counter(stage for stage, _ in self.asked)


def valid(prompt):
    return json.dumps(writer_server.content(prompt))


def make_brief(**values):
    fields = {
        "providers": ("a", "b"),
        "verifier": {"model": "v"},
        "anchors": ANCHORS,
        "rows": 6,
    }
    parsed = config.parse(fields | values)
    guides = guide.read(parsed.dimensions or guide.PERSONA)
    return Brief(parsed, guides, templates.read(parsed.prompts))


def make_rows(brief, asker, window=40, share=0.5, texts=()):
    """A maker of rows that knows some questions already."""
    questions, replies = TextIndex(0.85), TextIndex(0.85)
    for place, text in texts:
        questions.add(place, text)
    health = Health(StopRule(window, share))
    return RowMaker(brief, asker, health, questions, replies)


@pytest.fixture(scope="session")
def anchors():
    return seeds.read(ANCHORS, tuple("ATEC"))
