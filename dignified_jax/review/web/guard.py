"""Guard of every request and answer: names of the host, origins, headers that bind browsers."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Scripts, styles and requests of this site alone; no frames, no plug-ins, no inline code.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """ASGI middleware.

    Args:
      app: what is guarded.
      hosts: names that it may be called by, which a page of another name that resolves to this
        address is not.
      secure: whether browsers are told to come over https only.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], secure: bool) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}
        self._headers = HEADERS | (
            {"strict-transport-security": "max-age=31536000"} if secure else {}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or hands it on and adds the headers to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        kept = "no-cache" if scope["path"].startswith("/static/") else "no-store"

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers | {"cache-control": kept})
            await send(message)

        reason = self._objection(headers)
        if reason is None:
            await self._app(scope, receive, send_guarded)
        else:
            await PlainTextResponse(reason, 400)(scope, receive, send_guarded)

    def _objection(self, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            return "This site is not known by that name. Set its name with --public-url."
        origin = headers.get("origin")
        if origin is not None and _place(origin) != host:
            return "A page of another site sent this."
        return None


def _place(origin: str) -> str:
    """Returns host and port of an Origin header; "" of what is none."""
    try:
        return urllib.parse.urlsplit(origin).netloc
    except ValueError:  # such as brackets around no address
        return ""


def _name(host: str) -> str:
    """Returns the name in a Host header, without the port."""
    head, colon, port = host.rpartition(":")
    return (head if colon and port.isdigit() else host).lower()
