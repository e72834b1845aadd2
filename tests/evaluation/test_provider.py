"""Our sampler behind inspect_ai: the responses of the sampler, whoever asks with whom."""

import threading

import pytest

inspect_ai = pytest.importorskip("inspect_ai")

from inspect_ai.dataset import Sample  # noqa: E402
from inspect_ai.model import GenerateConfig, get_model  # noqa: E402

from dignified_jax.evaluation import models, provider  # noqa: E402
from dignified_jax.generation.prompts import Request  # noqa: E402
from dignified_jax.generation.respond import generate  # noqa: E402
from dignified_jax.generation.settings import Settings  # noqa: E402

pytestmark = pytest.mark.wiring

NAME = "dignified_jax/embedded:tiny-qwen3"
PROMPTS = ("Should I sell my car?", "My cat ate a lily.", "Is it late?")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A log of three samples, answered together."""
    assert provider.dignified_jax
    task = inspect_ai.Task(
        dataset=[Sample(id=str(i), input=text) for i, text in enumerate(PROMPTS)],
        config=GenerateConfig(temperature=0.0, max_tokens=6),
    )
    (log,) = inspect_ai.eval(
        task,
        model=get_model(NAME, batch_size=2),
        display="none",
        log_dir=str(tmp_path_factory.mktemp("logs")),
    )
    assert log.status == "success", log.error
    return log


def test_greedy_responses_are_the_samplers(evaluated):
    loaded = models.load("m", "embedded:tiny-qwen3")
    requests = [Request(str(i), text) for i, text in enumerate(PROMPTS)]
    expected = {
        each.id: each
        for each in generate(
            loaded.module, loaded.params, loaded.tokenizer, requests, Settings(max_new_tokens=6)
        )
    }
    for sample in evaluated.samples:
        own = expected[str(sample.id)]
        assert sample.output.completion == own.text
        assert sample.output.usage.input_tokens == own.prompt_tokens
        assert sample.output.usage.output_tokens == own.response_tokens
        ends = {"stop": "stop", "length": "max_tokens"}
        assert sample.output.choices[0].stop_reason == ends[own.finish_reason]


def test_what_the_sampler_lacks_is_refused():
    import anyio

    model = get_model(NAME, batch_size=2)
    for asked in (
        *({"frequency_penalty": 0.5}, {"frequency_penalty": 1.0}, {"presence_penalty": 1}),
        *({"logprobs": True}, {"num_choices": 2}, {"best_of": 3}),
    ):
        with pytest.raises(ValueError, match=f"{next(iter(asked))} is not supported"):
            anyio.run(lambda own=asked: model.generate("Hi", config=GenerateConfig(**own)))


def test_entry_point_names_the_provider():
    import pathlib

    setup = (pathlib.Path(provider.__file__).parents[2] / "setup.py").read_text()
    assert '"inspect_ai": ["dignified_jax = dignified_jax.evaluation.provider"]' in setup


def test_a_failure_is_told_to_all_who_wait_and_ends_no_later_request():
    """One that comes while the batch fails, and one after it: neither waits for ever."""
    from types import SimpleNamespace

    from dignified_jax.evaluation.sampler_api import _Worker

    first, second, third = (SimpleNamespace(id=name) for name in "abc")
    asked = threading.Event()

    class Broken:
        busy = False

        def add(self, request):
            self.busy = True

        def step(self):
            assert asked.wait(10)
            raise MemoryError("out of memory")

    worker = _Worker(Broken())
    waiting = [worker.submit(first)]
    waiting.append(worker.submit(second))
    asked.set()
    for future in waiting:
        assert isinstance(future.exception(timeout=10), MemoryError)
    assert worker.failed
    assert isinstance(worker.submit(third).exception(timeout=10), MemoryError)


def test_a_request_that_cannot_be_taken_ends_no_other():
    from types import SimpleNamespace

    from dignified_jax.evaluation.sampler_api import _Worker

    class Full:
        busy = False

        def add(self, request):
            raise ValueError("too long")

    future = _Worker(Full()).submit(SimpleNamespace(id="a"))
    assert str(future.exception(timeout=10)) == "too long"
