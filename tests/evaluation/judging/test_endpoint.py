"""Judging through inspect_ai, against a server on loopback that counts its calls."""

import dataclasses
import json
import os
import re
import time

import pytest

from dignified_jax.endpoints.calls import one_line
from dignified_jax.evaluation import rubrics
from dignified_jax.evaluation.judging import endpoint, halo
from dignified_jax.evaluation.judging.endpoint import EndpointError, EndpointSettings
from dignified_jax.evaluation.responses import Response
from tests.oracles.judge_server import JudgeServer, obey

pytest.importorskip("inspect_ai")

A, B = "openai-api/scripted/a", "openai-api/scripted/b"
SETTINGS = EndpointSettings(retries=3, attempt_seconds=20)
KEY = "secret-5391"


@pytest.fixture(scope="module")
def loopback():
    """The server, whose address and key the environment names, as inspect_ai wants them."""
    server = JudgeServer()
    names = {"SCRIPTED_BASE_URL": server.url, "SCRIPTED_API_KEY": KEY}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    yield server
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value
    server.shutdown()
    server.server_close()


@pytest.fixture
def server(loopback):
    loopback.calls.clear()
    loopback.behave = obey
    return loopback


def make(count, text="Don't. Ask a vet."):
    return [Response("m", str(i), f"prompt {i}", text) for i in range(count)]


def ask(models, responses, rubric, log_dir, settings=SETTINGS):
    found = endpoint.ask(models, responses, rubric, settings, log_dir)
    return {judge.name: verdicts for judge, verdicts in found.items()}


def known(verdicts):
    return sum(verdict.score is not None for verdict in verdicts.values())


def test_a_model_at_another_address_is_asked_there(server, rubric, tmp_path, monkeypatch):
    """inspect_ai by itself keeps a client by the model's name, with its first address."""
    ask([A], make(1), rubric, tmp_path / "first")
    moved = JudgeServer()
    monkeypatch.setenv("SCRIPTED_BASE_URL", moved.url)
    ask([A], make(1, "Another."), rubric, tmp_path / "second")
    moved.shutdown()
    moved.server_close()
    assert (server.count(), moved.count()) == ({"a": 1}, {"a": 1})


def test_only_what_is_new_is_asked(server, rubric, tmp_path):
    found = ask([A], make(4), rubric, tmp_path)
    assert server.count() == {"a": 4}
    assert known(found[A]) == 4 * 12
    verdict = found[A][make(1)[0].hash, "A1"]
    assert verdict.score == 1
    assert verdict.time
    assert verdict.source.endswith(".eval")

    ask([A], make(4), rubric, tmp_path)
    assert server.count() == {"a": 4}  # nothing again
    assert endpoint.heard(tmp_path) == {A}
    ask([A], make(6), rubric, tmp_path)
    assert server.count() == {"a": 6}  # the two that were appended
    ask([A, B], make(6), rubric, tmp_path)
    assert server.count() == {"a": 6, "b": 6}  # the new judge alone
    assert endpoint.heard(tmp_path) == {A, B}

    # As many as before, of another text: inspect_ai by itself takes the former log for them.
    ask([A], make(6, "Other."), rubric, tmp_path)
    assert server.count() == {"a": 12, "b": 6}
    items = (dataclasses.replace(rubric.items[0], text="Changed."), *rubric.items[1:])
    found = ask([A], make(6), dataclasses.replace(rubric, items=items), tmp_path)
    assert server.count() == {"a": 18, "b": 6}
    assert "Changed." in server.calls[-1]["messages"][-1]["content"]
    assert known(found[A]) == 6 * 12
    # And back: all of it is still there.
    found = ask([A, B], make(6), rubric, tmp_path)
    assert server.count() == {"a": 18, "b": 6}
    assert known(found[A]) == known(found[B]) == 6 * 12


def test_equal_responses_are_asked_once(server, rubric, tmp_path):
    one = make(1)
    found = ask([A], [*one, dataclasses.replace(one[0], model="n")], rubric, tmp_path)
    assert server.count() == {"a": 1}
    assert known(found[A]) == 12


def test_failures_are_tried_again_and_then_missing(server, rubric, tmp_path):
    def behave(prompt, items, model, number):
        if "prompt 1" in prompt:
            return 400, {}, "refused"
        if number <= 2:
            return 429, {"Retry-After": "0"} if number == 1 else {}, "slow down"
        return (500, {}, "broken") if number == 4 else obey(prompt, items, model, number)

    server.behave = behave
    found = ask([A], make(3), rubric, tmp_path)
    assert known(found[A]) == 2 * 12
    failed = found[A][make(2)[1].hash, "A1"]
    assert (failed.score, failed.reason) == (None, "the call failed")

    server.calls.clear()
    server.behave = obey
    found = ask([A], make(3), rubric, tmp_path)
    assert server.count() == {"a": 1}  # the one that failed
    assert known(found[A]) == 3 * 12


def test_a_call_that_hangs_is_tried_again(server, rubric, tmp_path):
    def behave(prompt, items, model, number):
        if number == 1:
            time.sleep(4)
        return obey(prompt, items, model, number)

    server.behave = behave
    impatient = dataclasses.replace(SETTINGS, attempt_seconds=1)
    started = time.monotonic()
    found = ask([A], make(2), rubric, tmp_path, impatient)
    assert known(found[A]) == 24
    assert server.count() == {"a": 3}
    assert time.monotonic() - started < 60


def test_hostile_answers_are_missing(server, rubric, tmp_path):
    full = {item.name: 1 for item in rubric.items}
    answers = [
        json.dumps(full)[:-9],
        "No comment.",
        json.dumps({name.lower(): 1 for name in full}),
        json.dumps({name: "1" for name in full}),
        "x" * 10**6,
        json.dumps(full)[:-1] + ', "A1": 0}',
        f"```json\n{json.dumps(full)}\n```",
    ]

    def behave(prompt, items, model, number):
        return 200, {}, answers[int(re.search(r"prompt (\d)", prompt)[1])]

    server.behave = behave
    responses = make(len(answers))
    found = ask([A], responses, rubric, tmp_path)[A]
    counts = [
        sum(found[response.hash, name].score is not None for name in full) for response in responses
    ]
    assert counts == [0, 0, 0, 0, 0, 11, 12]
    assert server.count() == {"a": len(answers)}
    ask([A], responses, rubric, tmp_path)
    assert server.count() == {"a": len(answers)}  # an answer is an answer


def test_items_one_by_one_and_the_halo(server, rubric, tmp_path):
    def behave(prompt, items, model, number):
        """Together the judge copies its first impression; alone it looks at the item."""
        which = int(re.search(r"prompt (\d)", prompt)[1])
        alone = {name: (int(name[1]) + which) % 2 for name in items}
        same = dict.fromkeys(items, int(which < 2))
        return 200, {}, json.dumps(same if len(items) > 1 else alone)

    server.behave = behave
    responses = make(4)
    one = dataclasses.replace(SETTINGS, items_per_call=1)
    together = ask([A], responses, rubric, tmp_path / "12")[A]
    assert len(server.calls) == 4
    alone = ask([A], responses, rubric, tmp_path / "1", one)[A]
    assert len(server.calls) == 4 + 4 * 12
    assert known(alone) == 4 * 12
    table = halo.audit("a", together, alone, rubric)
    assert table.columns["n"] == [4] * 12
    assert table.columns["together"] == [0.5] * 12
    assert halo.mean_correlation(together, rubric) == pytest.approx(1.0)
    assert halo.mean_correlation(alone, rubric) == pytest.approx(-1 / 3)  # 1-2, 2-3, 1-3
    shares = zip(*(table.columns[name] for name in ("together", "alone")), strict=True)
    assert table.columns["difference"] == pytest.approx([a - b for a, b in shares])


def test_keys_are_written_nowhere(server, rubric, tmp_path):
    ask([A], make(2), rubric, tmp_path)
    import zipfile

    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes()
        if file.suffix == ".eval":
            with zipfile.ZipFile(file) as log:
                assert not any(KEY.encode() in log.read(name) for name in log.namelist())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("openai-api/nokey/a", "NOKEY_API_KEY defined in the environment"),
        ("nonsense/x", "Model API nonsense of model 'nonsense/x' not recognized"),
        ("nonsense", "should be in the format of"),
    ],
)
def test_models_that_are_not_to_be_had(model, message, rubric, tmp_path):
    with pytest.raises(EndpointError, match=message) as error:
        ask([model], make(1), rubric, tmp_path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"judge {model}: ")


def test_an_endpoint_that_refuses_all_is_told(server, rubric, tmp_path):
    server.behave = lambda *call: (401, {}, "no such key")
    with pytest.raises(EndpointError, match=r"all 2 calls failed; the first: .*401 - no such key"):
        ask([A], make(2), rubric, tmp_path)
    server.behave = obey
    assert known(ask([A], make(2), rubric, tmp_path)[A]) == 24


def test_the_hash_covers_settings_and_rubric_is_in_the_id(rubric, tmp_path):
    changes = ({}, {"items_per_call": 1}, {"temperature": None}, {"max_tokens": 9})
    judges = [endpoint.judge_of(A, dataclasses.replace(SETTINGS, **c)) for c in changes]
    assert len({judge.hash for judge in judges}) == len(changes)
    assert endpoint.judge_of(A, dataclasses.replace(SETTINGS, retries=1)) == judges[0]
    small = rubrics.Rubric("r", rubric.titles, rubric.about, rubric.items[:3], {})
    response = make(1)[0]
    # A title is read by the judge as well.
    titled = dataclasses.replace(rubric, titles={**rubric.titles, rubric.dimensions[0]: "Another"})
    ids = {endpoint.sample_id(response, r.items[:3], r) for r in (rubric, small, titled)}
    assert len(ids) == 3


def test_a_call_that_was_tried_again_says_what_failed():
    error = "RetryError(<Future at 0x7f950bc3 state=finished raised InternalServerError>)"
    assert one_line(error) == "InternalServerError, also when tried again"
    assert one_line(ValueError("a\\nAPIError: b")) == "APIError: b"
