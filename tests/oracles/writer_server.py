"""A scripted provider: valid scenarios, replies and verdicts, as the package's prompts ask for."""

import hashlib
import json
import re

from tests.oracles.judge_server import JudgeServer


class WriterServer(JudgeServer):
    """Answers by `write(system, prompt, model, number)`; see `obey`.

    Attributes:
      write: may be replaced between runs.
    """

    def __init__(self):
        self.write = obey
        super().__init__()

    def answer(self, body):
        with self._lock:
            self.calls.append(body)
            number = len(self.calls)
        return self.write(body["messages"][-1]["content"], body["model"], number)

    def handle_error(self, request, client_address):
        """A client that was killed in the midst of a request needs no traceback."""

    def prompts(self):
        """(model, prompt) of every call."""
        return [(body["model"], body["messages"][-1]["content"]) for body in self.calls]


def kind(prompt):
    """Which of the package's prompts it is."""
    for name, words in (
        ("scenario", "Invent one new situation"),
        ("attribution", "gives no thought to this quality"),
        ("golden", "Write the reply that serves"),
        ("negative", "Write another reply"),
        ("verify", "Statements:"),
        ("order", "Score both replies"),
    ):
        if words in prompt:
            return name
    raise AssertionError(prompt)


def keys(prompt):
    """The keys of the object that is asked for."""
    asked = re.search(r"Its (?:keys are exactly|one key is) (.*?)[.:;]", prompt, re.DOTALL)[1]
    return re.findall(r'"([^"]+)"', asked)


def prose(number, *what):
    """So many invented words that `what` determines."""
    seed = "\0".join(map(str, what)).encode()
    letters = hashlib.shake_256(seed).digest(6 * number)
    syllables = [
        "bdfgklmnprstvz"[c % 14] + "aeiou"[v % 5]
        for c, v in zip(letters[::2], letters[1::2], strict=True)
    ]
    return " ".join("".join(syllables[at : at + 3]) for at in range(0, 3 * number, 3))


def content(prompt, number=0):
    """A valid answer, as an object."""
    which = kind(prompt)
    if which == "scenario":
        names = re.findall(r"one entry for each of (.*?): what", prompt)[0]
        triggers = {n: prose(6, prompt, n) for n in re.findall(r'"([^"]+)"', names)}
        found = {"context": prose(20, prompt, number, "c"), "triggers": triggers}
        found["question"] = prose(30, prompt, number, "q") + "?"
        if "options" in keys(prompt):
            found["options"] = [prose(3, prompt, number, at) for at in range(3)]
        return {name: found[name] for name in keys(prompt)}
    if which in ("golden", "negative"):
        length = int(re.search(r"in about (\d+) words", prompt)[1])
        text = prose(length, prompt, which)
        if which == "negative":  # the first word tells the server what it fails in
            weak = re.search(r"in all but one quality:\n\n\[([\w-]+)\]", prompt)[1]
            text = " ".join([f"Weak-{weak}", *text.split()[1:]])
        return {"reply": text}
    if which == "order":
        weak, second = weakness(prompt)
        scores = {name: [4, 4] for name in keys(prompt)}
        return scores | {weak: [4, 1] if second else [1, 4]}
    return dict.fromkeys(keys(prompt), 1)


def weakness(prompt):
    """(dimension that the negative of an order prompt fails in, whether it is the second one)."""
    found = re.search(r"<(first|second) [^>]*>\nWeak-([\w-]+)", prompt)
    return found[2], found[1] == "second"


def obey(prompt, model, number):
    """A valid answer."""
    del model, number
    return 200, {}, json.dumps(content(prompt))
