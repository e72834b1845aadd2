"""Sampled tokens depend neither on what else is sampled nor on when: rows are their own."""

import pytest

from dignified_jax.generation.queue import Queue
from dignified_jax.generation.settings import Settings
from tests.generation.test_queue import STOPS, load, requests, run


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    _, model, params = load("qwen3-tied", tmp_path_factory.mktemp("model"))
    return model, params


def test_drawn_tokens_depend_neither_on_the_batch_nor_on_the_order(tiny):
    """Long ones among them, so that caches grow and shrink."""
    settings = Settings(temperature=1.0, top_p=0.9, batch_size=2)
    given = requests(new=20, lengths=(3, 90, 17, 2))
    together = run(Queue(*tiny, STOPS, settings), given)
    backwards = run(Queue(*tiny, STOPS, settings), given[::-1])
    assert backwards == together
    alone = run(Queue(*tiny, STOPS, settings), given[:1])
    assert alone == {"0": together["0"]}
    assert len({done.tokens for done in together.values()}) == len(given)


def test_requests_may_come_while_others_run(tiny):
    given = requests()
    together = run(Queue(*tiny, STOPS, Settings(batch_size=2)), given)
    queue = Queue(*tiny, STOPS, Settings(batch_size=2))
    queue.add(given[0])
    found = {done.request.id: done for done in queue.step()}
    assert found | run(queue, given[1:]) == together
