"""A page for the browser of this machine alone: loopback address, own host, named routes only.

Other machines cannot reach it. Pages of others that the same browser shows cannot use it either: a
name that they point at this address is refused (Host), what they post is too (Origin, and a header
that only a page of ours may set), and they may not frame or embed what is answered.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any
from urllib.parse import parse_qsl, urlsplit

HEADER = "X-Sedimental"
"""Set by our own scripts with whatever they post."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    body: bytes
    kind: str = "text/html; charset=utf-8"
    status: int = 200

    @classmethod
    def json(cls, value: Any, status: int = 200) -> "Answer":
        """A JSON document."""
        return cls(json.dumps(value).encode(), "application/json", status)


@dataclass(frozen=True)
class Request:
    """What a page of ours asks for."""

    path: str
    query: Mapping[str, str]
    body: BufferedIOBase
    length: int
    """Bytes of `body` that belong to it."""


Route = Callable[[Request], Answer | None]
"""None: there is nothing of this path."""


class Loopback:
    """A server of `gets` and `posts`, by path; ``*`` stands for every other path."""

    def __init__(
        self, gets: Mapping[str, Route], posts: Mapping[str, Route] | None = None, port: int = 0
    ) -> None:
        """Listens at once, on `port`, or on a free one. Raises OSError for a port in use."""
        self.gets, self.posts = dict(gets), dict(posts or {})
        handler = _handler({"GET": self.gets, "POST": self.posts})
        self.server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://127.0.0.1:{self.server.server_port}/"

    def serve(self) -> None:
        """Answer until `stop`, or an interrupt."""
        with self.server:
            self.server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """End `serve`, which another thread is in."""
        self.server.shutdown()


def _handler(routes: Mapping[str, Mapping[str, Route]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server: ThreadingHTTPServer
        timeout = 60
        server_version, sys_version = "sedimental", ""

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: what is asked for here is nobody's business."""

        def _answer(self, method: str) -> None:
            hosts = {f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost")}
            host = self.headers.get("Host", "")
            origin = self.headers.get("Origin")
            foreign = origin is not None and origin not in {f"http://{name}" for name in hosts}
            if host not in hosts or foreign:
                return self._send(Answer(b"not for this host", "text/plain", 403))
            length = self.headers.get("Content-Length", "0")
            if method == "POST" and (HEADER not in self.headers or not length.isdecimal()):
                return self._send(Answer(b"not from a page of this server", "text/plain", 403))
            asked = urlsplit(self.path)
            route = routes[method].get(asked.path) or routes[method].get("*")
            query = dict(parse_qsl(asked.query, keep_blank_values=True))
            request = Request(asked.path, query, self.rfile, int(length) if method == "POST" else 0)
            found = route(request) if route else None
            self._send(found or Answer(b"there is nothing here", "text/plain", 404))

        def _send(self, answer: Answer) -> None:
            self.close_connection = True  # what of a body was not read is not a next request
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Connection", "close")
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            with suppress(OSError):  # the page is gone
                self.end_headers()
                self.wfile.write(answer.body)

    return Handler
