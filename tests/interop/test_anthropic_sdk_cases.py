"""Every case directory through a running Latimer, read by the official SDK: what it gets is what the case expects."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anthropic
import pytest

from latimer.dialects.messages.request import decode_request
from latimer.errors import Rejection
from tests.case_runner import INPUT_ESTIMATE, Case, all_cases, name_of
from tests.interop.claude import TOKEN
from tests.interop.sdk import API_VERSION
from tests.latimer_process import Latimer, serving

MADE_UP_ID = re.compile(r"toolu_[A-Za-z0-9]{24}")
SHOWN = frozenset({"type", "text", "thinking", "name", "input", "id"})
SECTIONS = ("request", "reasoning", "tools", "messages", "media", "cache", "native")


class _Upstream(BaseHTTPRequestHandler):
    """Answers `/<case>/v1/chat/completions`, or another dialect's path, with the case's own bytes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        path = next(path for path in all_cases() if path.name == self.path.split("/")[1])
        body = Case(path).upstream or b""
        streamed = (path / "upstream.sse").exists()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if streamed else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Latimer]:
    """Latimer with one provider for each case, which has the case's rules."""
    home = tmp_path_factory.mktemp("cases")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = home / "latimer.toml"
    config.write_text(_config(server.server_port), "utf-8")
    try:
        with serving(["--config", str(config), "--port", "0"], home=home) as latimer:
            yield latimer
    finally:
        server.shutdown()
        server.server_close()


def _config(port: int) -> str:
    """`tries = 1`: what a case shows is the first answer."""
    lines = ["[retry]", "tries = 1"]
    for path in all_cases():
        case = Case(path)
        overlay = case.overlay
        lines += [f'[providers."{path.name}"]', f'base_url = "http://127.0.0.1:{port}/{path.name}/v1"', 'api_key = ""']
        lines += [f'preset = "{overlay["preset"]}"'] if "preset" in overlay else []
        lines += [f'endpoint = {{dialect = "{path.parent.name}"}}']
        lines += [f'messages_url = "http://127.0.0.1:{port}/{path.name}/v1"']
        for section in SECTIONS:
            lines += [f"{section} = {_inline(overlay[section])}"] if section in overlay else []
    routes = [f'"{path.name}" = "{path.name}/{Case(path).model}"' for path in all_cases()]
    return "\n".join([*lines, "[routes]", *routes])


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(item) for item in value) + "]"
    return json.dumps(value)


def _ask(gateway: Latimer, case: Case, *, streaming: bool) -> dict[str, Any]:
    """The message as the SDK has it, or the error as it raises it."""
    body = json.loads(case.raw_request) | {"model": case.path.name}
    body.pop("stream", None)
    fields = {name: body.pop(name) for name in ("model", "max_tokens", "messages")}
    headers = {"anthropic-version": _version(case)}
    more: dict[str, Any] = {"extra_body": body, "extra_headers": headers, "timeout": 30.0}
    with anthropic.Anthropic(base_url=gateway.url, api_key=TOKEN, max_retries=0) as client:
        try:
            if not streaming:
                return client.messages.create(**fields, **more).model_dump()
            with client.messages.stream(**fields, **more) as stream:
                return stream.get_final_message().model_dump()
        except anthropic.APIStatusError as error:
            assert isinstance(error.body, dict)
            return error.body
        except ValueError:
            # The SDK gives up on arguments that are not JSON before the event that says so has come.
            return {"type": "error", "error": {"type": "api_error"}}


def _version(case: Case) -> str:
    """The SDK's own version, unless the request is one that only the other takes."""
    if case.refusal is not None:
        return case.version
    try:
        decode_request(case.raw_request, API_VERSION)
    except Rejection:
        return case.version
    return API_VERSION


def _sendable(path: Path) -> bool:
    """The SDK itself cannot write half a surrogate pair."""
    try:
        json.dumps(json.loads(Case(path).raw_request), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _essence(message: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on the run: ids are numbered, signatures and what only the SDK adds are left out.

    Of a call that was cut off, a stream has the beginning and a whole message says that it is unreadable.
    """
    if message["type"] == "error":
        return {"error": message["error"]["type"]}
    numbers: dict[str, str] = {}
    content = []
    for block in message["content"]:
        kept = {key: value for key, value in block.items() if key in SHOWN}
        if message["stop_reason"] == "max_tokens":
            kept.pop("input", None)
        if MADE_UP_ID.fullmatch(str(kept.get("id", ""))):
            kept["id"] = numbers.setdefault(kept["id"], f"id {len(numbers)}")
        content.append(kept)
    counted = message["usage"]["input_tokens"] + message["usage"]["cache_read_input_tokens"]
    return {
        "content": content,
        "stop_reason": message["stop_reason"],
        "stop_sequence": message["stop_sequence"],
        "input_tokens": counted,
        "output_tokens": message["usage"]["output_tokens"],
    }


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", [path for path in all_cases() if _sendable(path)], ids=name_of)
def test_the_sdk_gets_what_the_case_expects(path: Path, streaming: bool, gateway: Latimer) -> None:
    case = Case(path)
    expected = _essence(json.loads((path / "answer.json").read_bytes()))
    got = _essence(_ask(gateway, case, streaming=streaming))
    if expected.get("input_tokens") == INPUT_ESTIMATE:
        # Without the upstream's own count it is an estimate, and the case's is a made-up one.
        assert got.pop("input_tokens") > 0
        del expected["input_tokens"]
    assert got == expected
