"""Every way an upstream can fail, from the name to the last byte, as the client sees it."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from latimer.shell import upstream as upstream_module
from tests.scenarios.replies import Cut, Say, Wire, events, failure, html, overflow, rate_limited
from tests.shell.harness import (
    DONE,
    ENDING,
    KEY,
    ROLE,
    WHOLE_TEXT,
    Exchange,
    config_for,
    delta,
    gateway,
    names,
    serving,
    upstream,
)

SSE = {"content-type": "text/event-stream"}
HTML = {"content-type": "text/html"}
ONCE = "tries = 1"
STREAMS = pytest.mark.parametrize("stream", [True, False])


# --- connections -----------------------------------------------------------------------------------------------------


@STREAMS
async def test_refused(stream: bool) -> None:
    async with upstream() as script:
        url = script.url
    async with gateway(config_for(url)) as client:
        answer = await client.ask(stream=stream)
        assert answer.status == 500
        assert answer.error["type"] == "api_error"
        assert "p0/m: " in answer.error["message"]
        assert f"127.0.0.1:{script.port}" in answer.error["message"]
        assert "x-should-retry" not in answer.headers


async def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: nobody() if "invalid" in str(host) else real(host, *a, **k)
    )
    async with gateway(config_for("http://no-such-host.invalid/v1", retry=ONCE)) as client:
        answer = await client.ask()
        assert answer.status == 500
        assert "cannot be resolved" in answer.error["message"]
        assert "no-such-host.invalid" in answer.error["message"]


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + built.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def tls_server(certificate: Path) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@STREAMS
async def test_a_certificate_nobody_signed(tmp_path: Path, stream: bool) -> None:
    async with tls_server(_certificate(tmp_path)) as port:
        async with gateway(config_for(f"https://127.0.0.1:{port}/v1")) as client:
            answer = await client.ask(stream=stream)
        assert answer.status == 500
        assert answer.headers["x-should-retry"] == "false"
        assert "SSL_CERT_FILE" in answer.error["message"]


async def test_tls_where_there_is_none() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with gateway(config_for(url)) as client:
        answer = await client.ask()
    server.close()
    assert answer.status == 500
    assert answer.headers["x-should-retry"] == "false"
    assert "http://" in answer.error["message"]


async def test_an_upstream_that_does_not_answer_the_connection() -> None:
    """A full backlog swallows the SYN."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fill = []
        for _ in range(8):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
            fill.append(one)
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        async with gateway(config_for(url, retry=ONCE, connect_timeout_seconds=0.2, idle_timeout_seconds=5)) as client:
            answer = await client.ask()
        for one in fill:
            one.close()
    assert answer.status == 504
    assert answer.error["type"] == "timeout_error"


async def _reset_before_headers(exchange: Exchange) -> None:
    exchange.reset()


async def _close_before_headers(exchange: Exchange) -> None:
    exchange.close()


async def _half_a_status_line(exchange: Exchange) -> None:
    await exchange.write(b"HTTP/1.1 20")
    exchange.close()


async def _reset_after_headers(exchange: Exchange) -> None:
    await exchange.head()
    await asyncio.sleep(0.01)
    exchange.reset()


async def _close_after_headers(exchange: Exchange) -> None:
    await exchange.head()
    exchange.close()


async def _reset_after_role(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(ROLE)
    await asyncio.sleep(0.01)
    exchange.reset()


async def _empty_body(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.end()


async def _end_after_role(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.chunk(ROLE)
    await exchange.end()


BEFORE_CONTENT = [
    _reset_before_headers,
    _close_before_headers,
    _half_a_status_line,
    _reset_after_headers,
    _close_after_headers,
    _reset_after_role,
    _empty_body,
    _end_after_role,
]


@STREAMS
@pytest.mark.parametrize("fault", BEFORE_CONTENT)
async def test_broken_before_content_is_a_status(fault: Any, stream: bool) -> None:
    async with serving(fault) as (client, script):
        answer = await client.ask(stream=stream)
        assert answer.status == 500
        assert answer.error["type"] == "api_error"
        assert answer.error["message"].startswith("p0/m: ")
        assert len(script.exchanges) == 3


@STREAMS
@pytest.mark.parametrize("fault", BEFORE_CONTENT)
async def test_broken_before_content_then_well(fault: Any, stream: bool) -> None:
    """Nothing of the first attempt is left in the answer, and nothing is missing from it."""
    async with serving(fault, Say("Hello there")) as (client, script):
        answer = await client.ask(stream=stream)
        assert answer.status == 200
        assert len(script.exchanges) == 2
        if stream:
            assert names(answer.events) == [*WHOLE_TEXT, *ENDING]
            assert answer.text == "Hello there"
        else:
            assert answer.json["content"] == [{"type": "text", "text": "Hello there"}]


async def test_whole_answers_are_tried_again_from_the_beginning() -> None:
    """A client that wants one message has seen nothing, so half an answer may be thrown away."""
    broken = Wire((delta("Half an ans"), Cut()), headers=SSE)
    async with serving(broken, Say("Hello there")) as (client, script):
        answer = await client.ask(stream=False)
        assert answer.json["content"] == [{"type": "text", "text": "Hello there"}]
        assert len(script.exchanges) == 2


async def _reset_mid_body(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.say("Hello", " you")
    await asyncio.sleep(0.02)
    exchange.reset()


async def _close_mid_body(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.say("Hello", " you")
    exchange.close()


async def _end_mid_body(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.say("Hello", " you")
    await exchange.end()


async def _error_mid_body(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.say("Hello", " you")
    await exchange.chunk(b'data: {"error":{"message":"out of memory","code":500}}\n\n')
    await exchange.end()


async def _garbage_mid_body(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.say("Hello", " you")
    await exchange.chunk(b"data: <html>502</html>\n\n")
    await exchange.end()


@pytest.mark.parametrize("fault", [_reset_mid_body, _close_mid_body, _end_mid_body, _error_mid_body, _garbage_mid_body])
async def test_broken_after_content_is_an_event(fault: Any) -> None:
    async with serving(fault) as (client, script):
        answer = await client.ask()
        assert answer.status == 200
        assert answer.text == "Hello you"
        assert names(answer.events)[-1] == "error"
        assert set(names(answer.events)) & set(ENDING) == set()
        last = answer.events[-1][1]
        assert last["error"]["type"] == "api_error"
        assert last["request_id"] == answer.headers["request-id"]
        assert len(script.exchanges) == 1


@pytest.mark.parametrize("usage", [True, False])
async def test_an_answer_without_done_is_whole(usage: bool) -> None:
    async def without(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("Hello")
        await exchange.finish(usage=usage, done=False)

    async with serving(without) as (client, _):
        answer = await client.ask()
        assert names(answer.events) == [*WHOLE_TEXT, *ENDING]


async def test_cut_after_the_finish_reason_is_whole() -> None:
    say = Say("Hello", usage={"prompt_tokens": 5, "completion_tokens": 1}).streamed("m", include_usage=True)
    cut = say.cut(b'"finish_reason": "stop"}]}\n\n')
    async with serving(cut) as (client, _):
        assert names((await client.ask()).events) == [*WHOLE_TEXT, *ENDING]


# --- refusals --------------------------------------------------------------------------------------------------------


@STREAMS
@pytest.mark.parametrize(
    ("wire", "status", "kind", "retried", "should_retry"),
    [
        (failure(401, "Incorrect API key provided"), 401, "authentication_error", False, "false"),
        (failure(402, "Insufficient Balance"), 402, "billing_error", False, "false"),
        (failure(429, "quota exceeded", code="insufficient_quota"), 402, "billing_error", False, "false"),
        (failure(403, "not available in your country"), 403, "permission_error", False, "false"),
        (failure(404, "The model `m` does not exist", code="model_not_found"), 409, "conflict_error", False, "false"),
        (Wire((b"404 page not found",), status=404), 500, "api_error", False, "false"),
        (failure(413, "Payload too large"), 413, "request_too_large", False, "false"),
        (failure(429, "slow down"), 429, "rate_limit_error", True, None),
        (failure(500, "boom"), 500, "api_error", True, None),
        (failure(502, "bad gateway"), 500, "api_error", True, None),
        (failure(503, "overloaded"), 529, "overloaded_error", True, None),
        (failure(504, "too slow"), 504, "timeout_error", True, None),
        (html(500), 500, "api_error", True, None),
        (Wire((b"",), status=500), 500, "api_error", True, None),
        (Wire((), status=302, headers={**HTML, "location": "http://127.0.0.1:9/"}), 500, "api_error", False, "false"),
    ],
)  # fmt: skip
async def test_refusals(
    wire: Wire, status: int, kind: str, retried: bool, should_retry: str | None, stream: bool
) -> None:
    async with serving(wire) as (client, script):
        answer = await client.ask(stream=stream)
        assert (answer.status, answer.error["type"]) == (status, kind), answer.body
        assert len(script.exchanges) == (3 if retried else 1)
        assert answer.headers.get("x-should-retry") == should_retry
        assert answer.error["message"].startswith("p0/m: ")
        assert KEY not in answer.body.decode()


async def test_a_wrong_key_names_provider_and_variable() -> None:
    async with serving(failure(401, f"Incorrect API key provided: {KEY}")) as (client, _):
        answer = await client.ask()
        assert "p0" in answer.error["message"]
        assert "LATIMER_TEST_KEY" in answer.error["message"]
        assert KEY not in answer.error["message"]


@STREAMS
async def test_overflow(stream: bool) -> None:
    async with serving(overflow(140_000, 131_072)) as (client, script):
        answer = await client.ask(stream=stream)
        assert answer.status == 400
        assert answer.error["message"] == "prompt is too long: 140000 tokens > 131072 maximum"
        assert len(script.exchanges) == 1


async def test_a_long_refusal_in_pieces() -> None:
    """Error bodies arrive in as many reads as they like."""
    body = json.dumps({"error": {"pad": "x" * 100_000, "message": "maximum context length is 4096 tokens"}}).encode()

    async def piecewise(exchange: Exchange) -> None:
        await exchange.head(400, "application/json")
        for start in range(0, len(body), 30_000):
            await exchange.chunk(body[start : start + 30_000])
            await asyncio.sleep(0.01)
        await exchange.end()

    async with serving(piecewise) as (client, _):
        assert "> 4096 maximum" in (await client.ask()).error["message"]


async def test_a_refusal_whose_body_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "ERROR_SECONDS", 0.1)

    async def stuck(exchange: Exchange) -> None:
        await exchange.head(401, "application/json")
        await exchange.chunk(b'{"error":')
        await exchange.gone.wait()

    async with serving(stuck) as (client, _):
        assert (await client.ask()).status == 401


# --- 200 and yet no answer -------------------------------------------------------------------------------------------


@STREAMS
@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (html(), 500),
        (Wire((b"upstream connect error",), headers={"content-type": "text/plain"}), 500),
        (Wire((b'{"choices": [',)), 500),
        (Wire((b'"ok"',)), 500),
        (Wire((b'{"error":{"message":"Rate limit reached","code":429}}',)), 429),
        (Wire((b'{"error":{"message":"Incorrect API key","code":"invalid_api_key"}}',)), 401),
        (events({"error": {"message": "Provider returned error", "code": 503}}), 529),
        (events({"choices": [], "error": {"message": "No capacity", "code": 529}}), 529),
        (Wire((ROLE, b'data: {"error":{"message":"boom","code":500}}\n\n'), headers=SSE), 500),
        (Wire((b'event: error\ndata: {"message":"boom"}\n\n',), headers=SSE), 500),
    ],
)  # fmt: skip
async def test_an_error_in_a_200_is_an_honest_status(wire: Wire, status: int, stream: bool) -> None:
    async with serving(wire, retry=ONCE) as (client, _):
        answer = await client.ask(stream=stream)
        assert answer.status == status, answer.body
        assert answer.error["message"].startswith("p0/m: ")


async def test_a_stream_in_the_wrong_content_type() -> None:
    wire = Say("Hello", usage={}).streamed("m", include_usage=False)
    async with serving(Wire(wire.steps, headers={"content-type": "application/json"})) as (client, _):
        assert (await client.ask()).text == "Hello"


async def test_a_whole_answer_to_a_client_that_streams() -> None:
    async with serving(Say("Hello", usage={"prompt_tokens": 5, "completion_tokens": 1}).whole("m")) as (client, _):
        answer = await client.ask()
        assert names(answer.events) == [*WHOLE_TEXT, *ENDING]
        assert answer.text == "Hello"


# --- what goes out ---------------------------------------------------------------------------------------------------


async def test_only_our_headers_go_upstream() -> None:
    theirs = {
        "x-api-key": "client-secret",
        "Authorization": "Bearer client-secret",
        "anthropic-beta": "x",
        "X-Claude-Code-Session-Id": "abc",
        "Cookie": "a=b",
    }
    async with serving() as (client, script):
        await client.ask(headers=theirs)
        sent = script.exchanges[0].headers
    assert sent["authorization"] == f"Bearer {KEY}"
    assert "client-secret" not in str(sent)
    assert set(sent) == {"host", "authorization", "content-type", "accept", "content-length"}


async def test_cookies_are_not_kept() -> None:
    wire = Say("Hello", usage={}).whole("m")
    cookie = Wire(wire.steps, headers={**wire.headers, "set-cookie": "session=1"})
    async with serving(cookie) as (client, script):
        await client.ask()
        await client.ask()
        assert "cookie" not in script.exchanges[1].headers


async def test_a_netrc_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its password for a host, or for every host, would take the key's place."""
    (tmp_path / "netrc").write_text("default login someone password secret-of-netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with serving() as (client, script):
        assert (await client.ask()).status == 200
        assert script.exchanges[0].headers["authorization"] == f"Bearer {KEY}"


async def test_connections_serve_again() -> None:
    """Also when the end of the body comes in a packet of its own, right after [DONE]."""

    async def late_end(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("Hello")
        await exchange.chunk(DONE)
        await asyncio.sleep(0.02)
        await exchange.end()

    async with serving(late_end) as (client, script):
        for _ in range(4):
            assert (await client.ask()).status == 200
        assert script.connections <= 2  # one more has asked for the list of models


async def test_an_end_that_does_not_come_is_not_waited_for() -> None:
    async def no_end(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("Hello")
        await exchange.chunk(DONE)
        await exchange.gone.wait()

    async with serving(no_end) as (client, _):
        async with asyncio.timeout(1):
            assert names((await client.ask()).events) == [*WHOLE_TEXT, *ENDING]


async def test_a_stale_connection_is_replaced() -> None:
    """Servers close idle connections; the request that finds out is sent again."""

    async def answer_then_close(exchange: Exchange) -> None:
        await exchange.play(Say("Hello", usage={}).streamed("m", include_usage=False))
        await asyncio.sleep(0.02)
        exchange.reset()

    async with serving(answer_then_close) as (client, _):
        for _ in range(3):
            assert (await client.ask()).text == "Hello"


# --- proxies ---------------------------------------------------------------------------------------------------------


async def test_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream(Say("By proxy")) as script:
        monkeypatch.setenv("http_proxy", f"http://user:word@127.0.0.1:{script.port}")
        async with gateway(config_for("http://api.test/v1")) as client:
            assert (await client.ask()).text == "By proxy"
        assert script.exchanges[0].path == "http://api.test/v1/chat/completions"
        assert script.exchanges[0].headers["proxy-authorization"].startswith("Basic ")
        assert script.exchanges[0].headers["authorization"] == f"Bearer {KEY}"


async def test_a_local_upstream_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with serving(Say("Direct")) as (client, _):
        assert (await client.ask()).text == "Direct"


async def test_waits_are_told() -> None:
    async with serving(rate_limited("45"), retry="max_wait_seconds = 1") as (client, script):
        answer = await client.ask()
        assert answer.status == 429
        assert answer.headers["retry-after"] == "45"
        assert len(script.exchanges) == 1
    async with serving(rate_limited("7200")) as (client, script):
        answer = await client.ask()
        assert answer.headers["x-should-retry"] == "false"
        assert "2 h" in answer.error["message"]
        assert len(script.exchanges) == 1
