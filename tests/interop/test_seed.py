"""What the small script this project grew from could do, and what its reviewers found fault with.

Each line of "Seed compatibility" is a test here, through `latimer serve` and the script's own environment variables.
"""

import json
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.interop.claude import NEWEST, OLDER, ROOT, ClaudeCode
from tests.interop.sdk import MODEL, parse_events, post, request, user
from tests.latimer_process import Latimer, serving
from tests.scenarios import coding
from tests.scenarios.replies import Say, failure
from tests.scenarios.rules import Rules
from tests.upstream import Upstream

KEY = "sk-seed-0123456789abcdef"
PROMPT = "a very private sentence"
ASK: dict[str, Any] = {"model": MODEL, "max_tokens": 50, "messages": [user(PROMPT)]}


def settings(upstream: Upstream, **changes: str) -> dict[str, str]:
    """The script's settings for a scripted upstream."""
    return {
        "UPSTREAM_HOST": f"http://127.0.0.1:{upstream.port}",
        "UPSTREAM_PATH": "/v1/chat/completions",
        "API_KEY": KEY,
        "LISTEN_PORT": "0",
        "FORCED_MODEL": "m",
        **changes,
    }


def ask(server: Latimer, **fields: Any) -> tuple[int, Mapping[str, Any]]:
    """One whole message: status and body."""
    status, _, raw = post(server.url, {**ASK, **fields})
    return status, json.loads(raw)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1", "v1/", "/v1/chat/completions/"])
def test_settings(upstream: Upstream, tmp_path: Path, path: str) -> None:
    upstream.key = KEY
    upstream.play([Say("fine")])
    with serving([], home=tmp_path, environment=settings(upstream, UPSTREAM_PATH=path)) as server:
        status, body = ask(server)
    assert (status, body["content"][0]["text"]) == (200, "fine")
    assert upstream.last.body["model"] == "m"
    assert upstream.strays == []


def test_a_path_of_the_providers_own(upstream: Upstream, tmp_path: Path) -> None:
    upstream.play([Say("fine")])
    environment = settings(upstream, UPSTREAM_PATH="/compatible-mode/v1/chat/completions")
    with serving([], home=tmp_path, environment=environment) as server:
        assert ask(server)[0] == 200
    assert upstream.last.path == "/compatible-mode/v1/chat/completions"


def test_the_forced_model_answers_every_name(upstream: Upstream, tmp_path: Path) -> None:
    names = ["claude-opus-5-5", "claude-haiku-4", "gpt-9", "sonnet", "anything/at:all"]
    upstream.play([Say("fine") for _ in names], rules=Rules(model="vendor/Model-2.7"))
    environment = settings(upstream, FORCED_MODEL="vendor/Model-2.7")
    with serving([], home=tmp_path, environment=environment) as server:
        replies = [ask(server, model=name) for name in names]
    assert [body["model"] for _, body in replies] == names


def test_a_bare_host_means_https(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        first: list[bytes] = []
        taker = threading.Thread(target=_first_bytes, args=(listener, first), daemon=True)
        taker.start()
        environment = {
            "UPSTREAM_HOST": f"127.0.0.1:{listener.getsockname()[1]}",
            "UPSTREAM_PATH": "/v1/chat/completions",
            "API_KEY": KEY,
            "LISTEN_PORT": "0",
            "FORCED_MODEL": "m",
            "MAX_RETRIES": "1",
        }
        with serving([], home=tmp_path, environment=environment) as server:
            status, body = ask(server)
    assert first[0][:2] == b"\x16\x03", "a TLS handshake was expected"
    assert status >= 500
    assert KEY not in json.dumps(body)


def _first_bytes(listener: socket.socket, found: list[bytes]) -> None:
    """Takes what each caller sends first, and hangs up, until the listener is closed."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with closing(connection):
            found.append(connection.recv(16))


def test_listen_port(upstream: Upstream, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    with serving([], home=tmp_path, environment=settings(upstream, LISTEN_PORT=str(port))) as server:
        assert server.url == f"http://127.0.0.1:{port}"


def test_default_port_with_any_fake_key(upstream: Upstream, tmp_path: Path) -> None:
    """Port 4002 on loopback, `ANTHROPIC_BASE_URL=http://127.0.0.1:4002`, a made-up API key, `--model sonnet`."""
    environment = settings(upstream)
    del environment["LISTEN_PORT"]
    if _busy(4002):
        # Somebody's own Latimer, most likely. That it wants this port, and says so, is all that can be seen then.
        server = Latimer([], home=tmp_path, environment=environment)
        assert server.exit_code() != 0
        assert "4002" in server.stderr
        return
    upstream.play([Say("fine")])
    with serving([], home=tmp_path, environment=environment) as server:
        assert server.url == "http://127.0.0.1:4002"
        client = ClaudeCode(NEWEST, tmp_path / "home", "http://127.0.0.1:4002", token_variable="ANTHROPIC_API_KEY")
        assert client.ask("say fine", model="sonnet").text == "fine"
    assert not _busy(4002), "something outlived the server"


def _busy(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_models_that_claude_code_expects(upstream: Upstream, tmp_path: Path, version: str) -> None:
    upstream.play([Say("fine")])
    with serving([], home=tmp_path, environment=settings(upstream)) as server:
        status, _, raw = request("GET", server.url, "/v1/models?limit=1000")
        ids = [model["id"] for model in json.loads(raw)["data"]]
        assert status == 200
        for tier in ("opus", "sonnet", "haiku"):
            assert any(identity.startswith("claude") and tier in identity for identity in ids), ids
        client = ClaudeCode(version, tmp_path / "home", server.url, {"CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1"})
        assert client.ask("say fine", model="sonnet").text == "fine"


def test_beta_query(upstream: Upstream, tmp_path: Path) -> None:
    upstream.play([Say("fine")])
    with serving([], home=tmp_path, environment=settings(upstream)) as server:
        status, _, raw = post(server.url, ASK, "/v1/messages?beta=true")
    assert (status, json.loads(raw)["content"][0]["text"]) == (200, "fine")


def test_utf8_across_chunk_borders(upstream: Upstream, tmp_path: Path) -> None:
    upstream.play(coding.chinese)
    with serving([], home=tmp_path, environment=settings(upstream)) as server:
        _, _, raw = post(server.url, {**ASK, "stream": True})
    deltas = [event["delta"] for event in parse_events(raw.decode()) if event["type"] == "content_block_delta"]
    assert "".join(delta["text"] for delta in deltas) == coding.CHINESE


@pytest.mark.parametrize("tries", [1, 3])
def test_max_retries(upstream: Upstream, tmp_path: Path, tries: int) -> None:
    upstream.play(lambda _: failure(429, "slow down", code="rate_limit_exceeded"))
    environment = settings(upstream, MAX_RETRIES=str(tries), BASE_WAIT_SECONDS="0.05")
    with serving([], home=tmp_path, environment=environment) as server:
        status, body = ask(server)
    assert (status, body["error"]["type"]) == (429, "rate_limit_error")
    assert len(upstream.exchanges) == tries


@pytest.mark.parametrize(("seconds", "least", "most"), [("0.05", 0.0, 1.2), ("1.5", 1.4, 5.0)])
def test_base_wait_seconds(upstream: Upstream, tmp_path: Path, seconds: str, least: float, most: float) -> None:
    upstream.play([failure(429, "slow down", code="rate_limit_exceeded"), Say("fine")])
    environment = settings(upstream, BASE_WAIT_SECONDS=seconds)
    with serving([], home=tmp_path, environment=environment) as server:
        assert ask(server)[0] == 200
    first, second = upstream.exchanges
    assert least <= second.arrived - first.arrived <= most


def test_probes_are_answered_here(upstream: Upstream, tmp_path: Path) -> None:
    with serving([], home=tmp_path, environment=settings(upstream)) as server:
        assert request("HEAD", server.url, "/")[0] == 200
        assert request("HEAD", server.url, "/api/hello")[0] == 200
        assert request("GET", server.url, "/health")[0] == 200
        status, _, _ = post(server.url, {"events": []}, "/api/event_logging/batch")
        assert status < 500
    assert (upstream.exchanges, upstream.strays) == ([], [])


def test_neither_key_nor_prompt_in_logs(upstream: Upstream, tmp_path: Path) -> None:
    """Not for a good answer, not for a bad one, and not when the upstream itself repeats them."""
    echo = failure(401, f"Incorrect API key provided: {KEY}. You sent: {PROMPT}", code="invalid_api_key")
    broken = failure(500, f"while handling {PROMPT} with {KEY}", type="server_error")
    upstream.play([Say("fine"), echo, broken])
    environment = settings(upstream, MAX_RETRIES="1")
    with serving([], home=tmp_path, environment=environment) as server:
        statuses = []
        for _ in range(3):
            status, body = ask(server)
            statuses.append(status)
            assert KEY not in json.dumps(body)
        assert statuses == [200, 401, 500]
    for text in (server.stdout, server.stderr):
        assert KEY not in text
        assert PROMPT not in text
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert KEY.encode() not in content, path
            assert PROMPT.encode() not in content, path


def test_it_says_where_prompts_go(upstream: Upstream, tmp_path: Path) -> None:
    with serving([], home=tmp_path, environment=settings(upstream)) as server:
        pass
    assert f"127.0.0.1:{upstream.port}" in server.stdout + server.stderr


def test_there_is_no_default_provider(tmp_path: Path) -> None:
    server = Latimer(["--port", "0"], home=tmp_path)
    assert server.exit_code() == 2
    assert "listening" not in server.stdout
    assert "provider" in server.stderr
    assert "--upstream" in server.stderr


def test_nothing_outlives_its_use(upstream: Upstream, tmp_path: Path) -> None:
    with serving([], home=tmp_path, environment=settings(upstream)) as server:
        group = server.process.pid
        port = int(server.url.rsplit(":", 1)[1])
        assert server.stop() in {0, 130}
        assert not _busy(port)
        assert _members(group) == []


def _members(group: int) -> list[str]:
    """The processes of one group, where the system shows them."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended while we looked
        if int(fields[2]) == group:
            found.append(stat.parent.name)
    return found


def test_no_key_in_the_code() -> None:
    for path in (ROOT / "src").rglob("*"):
        if path.is_file() and path.suffix in {".py", ".toml", ".json"}:
            assert not re.search(r"\b(sk|gsk|xai|AIza)[-_][A-Za-z0-9]{16,}", path.read_text()), path
