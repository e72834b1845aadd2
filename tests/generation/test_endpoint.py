"""The client against a scripted server on loopback: what fails, is sent again, is told."""

import time

import pytest

from dignified_jax.generation import Request, Settings
from dignified_jax.generation.endpoint import Endpoint, ServerError, ask
from tests.generation.loopback import completion, serving


def collect(server, texts, settings=Settings(), **fields):  # noqa: B008  (frozen)
    endpoint = Endpoint(
        server.url, "m", **{"concurrency": 4, "timeout": 5.0, "attempts": 3} | fields
    )
    requests = [Request(text, text) for text in texts]
    return {answer.id: answer for answer in ask(endpoint, requests, settings)}


def test_what_is_sent_and_what_comes_back(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    settings = Settings(temperature=0.5, top_p=0.9, top_k=4, max_new_tokens=7, stop=("END",))
    with serving(lambda handler, text, before: handler.answer(f"re: {text}")) as server:
        found = collect(server, ["a", "b"], settings)
    assert {name: answer.text for name, answer in found.items()} == {"a": "re: a", "b": "re: b"}
    assert (found["a"].finish_reason, found["a"].prompt_tokens) == ("stop", 5)
    _, body, headers = next(each for each in server.seen if each[0] == "a")
    assert headers["Authorization"] == "Bearer sk-secret"
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "a"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 4,
        "seed": found["a"].seed,
        "stop": ["END"],
    }
    assert found["a"].seed != found["b"].seed


PASSING = {
    "429 that says when": lambda h: h.reply(429, b"slow down", {"Retry-After": "0"}),
    "429 that says when by a date": lambda h: h.reply(
        429, b"slow down", {"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}
    ),
    "429 that does not": lambda h: h.reply(429, b"slow down"),
    "500": lambda h: h.reply(500, b"<html>oops</html>"),
    "a broken connection": lambda h: h.connection.close(),
    "fewer bytes than promised": lambda h: h.reply(200, completion("x"), length=10_000),
    "truncated JSON": lambda h: h.reply(200, b'{"choices": [{"message": {"content": "hal'),
    "no choices": lambda h: h.reply(200, {"choices": []}),
    "no text": lambda h: h.reply(200, completion(None)),
    "a number": lambda h: h.reply(200, completion(3)),
    "an empty text": lambda h: h.reply(200, completion("")),
    "a list": lambda h: h.reply(200, [1, 2]),
}


@pytest.mark.parametrize("kind", PASSING)
def test_a_failure_that_passes_is_asked_again(kind):
    script = lambda h, text, before: h.answer("good") if before else PASSING[kind](h)  # noqa: E731
    with serving(script) as server:
        found = collect(server, ["a"])
    assert (found["a"].text, server.count("a")) == ("good", 2)


@pytest.mark.parametrize("kind", ["truncated JSON", "no text", "500"])
def test_a_failure_that_does_not_pass_is_an_error_of_its_prompt(kind):
    def script(handler, text, before):
        handler.answer("good") if text == "b" else PASSING[kind](handler)

    with serving(script) as server:
        found = collect(server, ["a", "b"], attempts=2)
    assert found["b"].text == "good" and server.count("a") == 2
    assert found["a"].text is None and found["a"].error.endswith("(2 attempts)")


def test_servers_that_hang_or_drip_are_left_after_the_timeout():
    def script(handler, text, before):
        if text == "hang":
            time.sleep(3)
        elif text == "drip":
            handler.drip(3)
        else:
            handler.answer("good")

    begun = time.monotonic()
    with serving(script) as server:
        found = collect(server, ["hang", "drip", "c"], timeout=0.4, attempts=1)
        assert time.monotonic() - begun < 2
    assert found["c"].text == "good"
    assert "timed out" in found["hang"].error and "too long" in found["drip"].error


def test_a_refused_request_is_not_sent_again():
    with serving(lambda h, text, before: h.reply(400, {"error": "too long"})) as server:
        found = collect(server, ["a"])
    assert server.count("a") == 1
    assert found["a"].error == 'HTTP 400: {"error": "too long"}'


def test_a_server_that_refuses_the_key_ends_all_and_the_key_is_not_told(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    script = lambda h, text, before: h.reply(401, b"bad key sk-secret")  # noqa: E731
    with serving(script) as server, pytest.raises(ServerError, match="HTTP 401") as caught:
        collect(server, [str(n) for n in range(20)], concurrency=1)
    assert "secret" not in str(caught.value) and len(server.seen) < 20


def test_no_redirect_is_followed(monkeypatch):
    """The key would go with it."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with serving(lambda h, text, before: h.answer("stolen")) as other:
        script = lambda h, text, before: h.reply(307, b"", {"Location": other.url})  # noqa: E731
        with serving(script) as server:
            found = collect(server, ["a"], attempts=1)
    assert found["a"].text is None and other.seen == []


def test_no_server_is_told():
    with serving(None) as server:
        pass
    answer = collect(server, ["a"], attempts=2)["a"]
    assert answer.text is None and "refused" in answer.error


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://a/v1", "http://key:x@host/v1", ""])
def test_addresses_are_checked(url):
    with pytest.raises(ValueError, match="--endpoint: "):
        Endpoint(url, "m")
