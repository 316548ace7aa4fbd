"""What a doctor's patient talks to: a provider, a Latimer or another program, each on 127.0.0.1 in a thread."""

import json
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

USAGE = {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220}


class Headers(dict[str, str]):
    """Of a request, by their names in lower case."""

    def __init__(self, items: Iterable[tuple[str, str]]) -> None:
        super().__init__((name.lower(), value) for name, value in items)


class Provider:
    """An OpenAI-compatible provider. What it says can be changed while it runs."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.status = 200
        self.window = 131072
        self.output = 0
        self.tools = {"m": True, "other": True}
        self.calls = {"m": True, "other": True}
        """Whether each model calls tools."""
        self.chat_status = 200
        self.clock_ahead = 0.0
        self.hangs = False
        self.asked: list[str] = []
        self.port = 0
        self.tls = False

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1"

    def answer(self, method: str, path: str, headers: Headers, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        path = urlsplit(path).path  # a proxy is asked for a whole URL
        self.asked.append(f"{method} {path}")
        if self.hangs:
            time.sleep(1)
        if headers.get("authorization") != f"Bearer {self.key}":
            return 401, "application/json", b'{"error": {"message": "invalid key"}}'
        if path == "/v1/models":
            return self.status, "application/json", json.dumps({"data": self._models()}).encode()
        if path == "/v1/chat/completions":
            if self.chat_status != 200:
                return self.chat_status, "application/json", b'{"error": {"message": "out of order"}}'
            return 200, "text/event-stream", self._said(json.loads(body)["model"])
        return 404, "application/json", b'{"error": {"message": "no such path"}}'

    def _models(self) -> list[dict[str, Any]]:
        limits = {"max_model_len": self.window, "max_completion_tokens": self.output}
        told = {name: value for name, value in limits.items() if value}
        return [
            {"id": name, **told, "supported_parameters": ["tools"] if tools else ["temperature"]}
            for name, tools in self.tools.items()
        ]

    def _said(self, model: str) -> bytes:
        call = {"index": 0, "id": "c1", "function": {"name": "report", "arguments": '{"word": "fine"}'}}
        delta = {"tool_calls": [call]} if self.calls[model] else {"content": "fine"}
        reason = "tool_calls" if self.calls[model] else "stop"
        chunks = [
            {"choices": [{"index": 0, "delta": {"role": "assistant", **delta}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
            {"choices": [], "usage": USAGE},
        ]
        return b"".join(b"data: %s\n\n" % json.dumps({"id": "x", **chunk}).encode() for chunk in chunks) + DONE


DONE = b"data: [DONE]\n\n"
REFUSAL = b'{"type": "error", "error": {"type": "permission_error", "message": "no"}}'
"""Claude Code does not ask again after a 403."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        server: Any = self.server
        status, kind, answer = server.answer(self.command, self.path, Headers(self.headers.items()), body)
        self.send_response_only(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(answer)))
        self.send_header("date", formatdate(time.time() - server.clock_ahead(), usegmt=True))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815  # its name is http.server's

    def log_message(self, *_: Any) -> None: ...


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    answer: Any
    clock_ahead: Any

    def handle_error(self, *_: Any) -> None:
        """A client that goes away in mid-handshake is what some tests are about."""


@contextmanager
def _running(server: _Server) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def serving(provider: Provider, *, port: int = 0, certificate: Path | None = None) -> Iterator[None]:
    """The provider, on a free port unless one is named."""
    server = _Server(("127.0.0.1", port), _Handler)
    server.answer, server.clock_ahead = provider.answer, lambda: provider.clock_ahead
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with _running(server) as bound:
        provider.port, provider.tls = bound, certificate is not None
        yield


@dataclass(frozen=True)
class Asked:
    """A request that a program got."""

    method: str
    path: str
    headers: Headers
    body: bytes


@contextmanager
def saying(health: object, port: int) -> Iterator[list[Asked]]:
    """A program on a port that says this of its health, and refuses the rest; yields what it is asked for."""
    asked: list[Asked] = []

    def answer(method: str, path: str, headers: Headers, body: bytes) -> tuple[int, str, bytes]:
        if method == "GET":
            return 200, "application/json", json.dumps(health).encode()
        asked.append(Asked(method, path, headers, body))
        return 403, "application/json", REFUSAL

    server = _Server(("127.0.0.1", port), _Handler)
    server.answer, server.clock_ahead = answer, lambda: 0.0
    with _running(server):
        yield asked
