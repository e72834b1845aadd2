"""A chat-completion server on loopback that does what a script says."""

import contextlib
import http.server
import json
import threading
import time


class Server(http.server.ThreadingHTTPServer):
    """Counts the requests, and answers each by the script.

    Attributes:
      seen: (prompt's last text, body, headers) of each request, in order.
    """

    daemon_threads = True

    def __init__(self, script):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script, self.seen, self.lock = script, [], threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def count(self, text):
        return sum(each[0] == text for each in self.seen)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"]
        with self.server.lock:
            before = self.server.count(text)
            self.server.seen.append((text, body, dict(self.headers)))
        with contextlib.suppress(OSError):
            self.server.script(self, text, before)

    def reply(self, status, content, headers=(), length=None):
        """Sends bytes, or JSON of anything else; `length` promises another number of bytes."""
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
        self.close_connection = True

    def answer(self, text):
        self.reply(200, completion(text))

    def drip(self, seconds):
        """Sends a byte now and then, and never ends."""
        self.send_response(200)
        self.end_headers()
        for _ in range(int(seconds / 0.05)):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.05)

    def log_message(self, *arguments):
        pass


def completion(text, reason="stop"):
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}


@contextlib.contextmanager
def serving(script):
    """`script(handler, text, requests of this text before)` answers a request."""
    server = Server(script)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
