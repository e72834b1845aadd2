"""A scripted OpenAI-compatible server on loopback that counts what it is asked."""

import collections
import contextlib
import http.server
import json
import re
import threading


class JudgeServer(http.server.ThreadingHTTPServer):
    """Answers chat completions by `behave(prompt, items, model, call) -> (status, headers, text)`.

    Attributes:
      calls: the requests so far, as dicts.
      behave: may be replaced between runs.
    """

    daemon_threads = True

    def __init__(self):
        self.calls, self.behave, self._lock = [], obey, threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def answer(self, body):
        with self._lock:
            self.calls.append(body)
            number = len(self.calls)
        prompt = body["messages"][-1]["content"]
        asked = prompt.rsplit("Its keys are exactly", 1)[-1]
        items = re.findall(r'"(\w+)"', asked)
        return self.behave(prompt, items, body["model"], number)

    def count(self):
        """Calls by model."""
        return dict(collections.Counter(body["model"] for body in self.calls))


def obey(prompt, items, model, number):
    """All items are true."""
    return 200, {}, json.dumps(dict.fromkeys(items, 1))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, headers, text = self.server.answer(body)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        good = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"]}
        good |= {"choices": [choice], "usage": usage}
        data = json.dumps(good if status == 200 else {"error": {"message": text}}).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(data)
