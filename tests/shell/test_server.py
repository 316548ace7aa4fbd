"""The routes, who may use them, and what bodies and headers must look like."""

import asyncio
import gzip
import json
import socket
import zlib
from typing import Any

import pytest

import latimer
from latimer.errors import ConfigError
from latimer.policy.config import parse
from latimer.shell import server as server_module
from latimer.shell.attempt import Attempts
from latimer.shell.gateway import Gateway as RealGateway
from latimer.shell.server import new_id, normalize_path
from latimer.shell.service import running
from tests.scenarios.replies import Say, failure
from tests.shell.harness import (
    ENDING,
    KEY,
    KEY_VARIABLE,
    PROMPT,
    WHOLE_TEXT,
    Exchange,
    config_for,
    event,
    events_in,
    eventually,
    gateway,
    halting,
    hang,
    message,
    names,
    serving,
    upstream,
)

UNREACHED = "http://127.0.0.1:9/v1"
TOKEN = "gateway-token-abc"


async def raw(url: str, request: bytes) -> bytes:
    """What the server sends back on one connection, to its end."""
    port = int(url.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    received = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return received


# --- routes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/messages", "/v1/messages"),
        ("/v1/messages/", "/v1/messages"),
        ("/v1/v1/messages", "/v1/messages"),
        ("/v1/v1/v1/models", "/v1/models"),
        ("//v1/messages", "/v1/messages"),
        ("/v1//messages", "/v1/messages"),
        ("/v1/v1", "/v1"),
        ("/v1/v10", "/v1/v10"),
        ("/", "/"),
        ("", "/"),
    ],
)
def test_paths_mean_routes(path: str, meant: str) -> None:
    assert normalize_path(path) == meant


@pytest.mark.parametrize(
    "path",
    ["/v1/messages", "/v1/messages?beta=true", "/v1/messages/?x=1&y", "/v1/v1/messages?beta=true", "//v1/messages"],
)
async def test_messages_by_every_path(path: str) -> None:
    async with serving(Say("Hello")) as (client, _):
        answer = await client.ask(path=path, stream=False)
        assert answer.status == 200
        assert answer.json["content"] == [{"type": "text", "text": "Hello"}]
        assert (await client.ask(path=path)).text == "Hello"


async def test_health_comes_before_everything() -> None:
    async with gateway(config_for(UNREACHED, token=f"env:{KEY_VARIABLE}")) as client:
        for headers in ({}, {"Origin": "https://example.com"}, {"Host": "example.com"}, {"x-api-key": "wrong"}):
            answer = await client.get("/health?x=1", headers)
            assert answer.status == 200
            named = {"status": "ok", "service": "latimer", "version": latimer.__version__}
            assert answer.json == {**named, "instance": answer.json["instance"]}
            assert answer.headers["request-id"].startswith("req_")


async def test_local_routes_need_no_upstream() -> None:
    async with gateway(config_for(UNREACHED)) as client:
        assert (await client.get("/ready")).json["status"] == "ok"
        landing = await client.get("/")
        assert landing.status == 200
        assert b"Latimer" in landing.body
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert b"latimer_requests_total" in metrics.body
        assert (await client.get("/api/hello")).status == 200
        assert (await client.post("/api/event_logging/batch?x=1", {"events": [1, 2, 3]})).status == 200
        assert (await client.post("/api/event_logging/v2/batch/", b"x" * 300_000)).status == 200


@pytest.mark.parametrize("path", ["/", "/api/hello", "/v1/messages", "/v1/models", "/health", "/nowhere"])
async def test_head_probes(path: str) -> None:
    async with gateway(config_for(UNREACHED, token=f"env:{KEY_VARIABLE}")) as client:
        answer = await client.call("HEAD", path)
        assert answer.status == 200
        assert answer.body == b""
        assert answer.headers["request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1/complete"),
        ("GET", "/v1/files"),
        ("PUT", "/x"),
    ],
)
async def test_unknown_routes(method: str, path: str) -> None:
    async with gateway(config_for(UNREACHED)) as client:
        answer = await client.call(method, path)
        assert answer.status == 404
        assert answer.error["type"] == "not_found_error"
        assert path in answer.error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/messages", "POST"),
        ("DELETE", "/v1/messages", "POST"),
        ("GET", "/v1/messages/count_tokens", "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/v1/models/x", "GET"),
        ("POST", "/health", "GET"),
        ("POST", "/", "GET"),
        ("GET", "/api/event_logging/batch", "POST"),
    ],
)
async def test_methods_that_are_not_allowed(method: str, path: str, allowed: str) -> None:
    async with gateway(config_for(UNREACHED)) as client:
        answer = await client.call(method, path)
        assert answer.status == 405
        assert answer.headers["Allow"] == f"{allowed}, HEAD"
        assert answer.error["type"] == "invalid_request_error"


def test_ids_are_anthropics() -> None:
    ids = {new_id("req_") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 28 and one.removeprefix("req_").isalnum() for one in ids)


async def test_every_answer_has_its_own_request_id() -> None:
    async with serving() as (client, _):
        answers = [
            await client.ask(stream=False),
            await client.ask(),
            await client.ask(max_tokens="x"),
            await client.get("/v1/models"),
            await client.get("/nowhere"),
        ]
    ids = [answer.headers["request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)


# --- who may ask -----------------------------------------------------------------------------------------------------


@pytest.fixture
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", TOKEN)


@pytest.mark.usefixtures("_token")
@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": TOKEN},
        {"Authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer {TOKEN}"},
        {"Authorization": "Bearer other", "x-api-key": TOKEN},
    ],
)
async def test_the_token_opens(headers: dict[str, str]) -> None:
    async with serving(token="env:GATEWAY_TOKEN") as (client, script):
        assert (await client.ask(headers=headers, stream=False)).status == 200
        assert (await client.get("/v1/models", headers)).status == 200
        assert TOKEN not in str(script.exchanges[0].headers)


@pytest.mark.usefixtures("_token")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": TOKEN[:-1]},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"x-api-key": "\udcff\udcfe"},
        {"x-api-key": "clé"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models", "/metrics", "/ready", "/v1/messages/count_tokens"])
async def test_without_the_token(headers: dict[str, str], path: str) -> None:
    async with gateway(config_for(UNREACHED, token="env:GATEWAY_TOKEN")) as client:
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head, _, body = (
            await raw(client.url, "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape"))
        ).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"x-should-retry: false" in head
        error = json.loads(body)
        assert error["error"]["type"] == "authentication_error"
        assert "ANTHROPIC_AUTH_TOKEN" in error["error"]["message"]
        assert TOKEN not in body.decode()


@pytest.mark.usefixtures("_token")
async def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    real = server_module.hmac.compare_digest
    monkeypatch.setattr(server_module.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    async with gateway(config_for(UNREACHED, token="env:GATEWAY_TOKEN")) as client:
        assert (await client.get("/v1/models", {"x-api-key": "guess"})).status == 401
    assert (b"guess", TOKEN.encode()) in compared


async def test_web_pages_are_refused() -> None:
    async with serving() as (client, script):
        for origin in ("https://example.com", "null", "http://127.0.0.1:4002"):
            answer = await client.ask(headers={"Origin": origin})
            assert answer.status == 403
            assert answer.error["type"] == "permission_error"
        preflight = await client.call("OPTIONS", "/v1/messages", {"Origin": "https://example.com"})
        assert preflight.status == 403
        assert not script.exchanges


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:4002", 200),
        ("127.0.0.1", 200),
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("localhost.", 200),
        ("[::1]:4002", 200),
        ("[::1]", 200),
        ("127.1.2.3", 200),
        ("example.com", 403),
        ("example.com:4002", 403),
        ("127.0.0.1.example.com", 403),
        ("localhost.example.com:4002", 403),
        ("[2001:db8::1]:4002", 403),
        ("[::1", 403),
        ("192.168.1.5", 403),
    ],
)
async def test_host_must_be_this_machine(host: str, status: int) -> None:
    async with gateway(config_for(UNREACHED)) as client:
        answer = await client.get("/v1/models", {"Host": host})
        assert answer.status == status


async def test_any_host_when_not_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", TOKEN)
    async with gateway(config_for(UNREACHED, host="0.0.0.0", token="env:GATEWAY_TOKEN")) as client:
        client.url = client.url.replace("0.0.0.0", "127.0.0.1")
        assert (await client.get("/v1/models", {"Host": "box.example:4002", "x-api-key": TOKEN})).status == 200


# --- bodies ----------------------------------------------------------------------------------------------------------


async def test_bodies_that_are_too_large() -> None:
    async with serving(max_body_bytes=2000) as (client, script):
        large = json.dumps(message(messages=[{"role": "user", "content": "x" * 3000}])).encode()
        answers = [
            await client.post("/v1/messages", large),
            await client.post("/v1/messages/count_tokens", large),
            await client.post("/v1/messages", gzip.compress(large), {"Content-Encoding": "gzip"}),
        ]
        for answer in answers:
            assert answer.status == 413
            assert answer.error["type"] == "request_too_large"
            assert "2000 bytes (server.max_body_bytes)" in answer.error["message"]
        head = (
            b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )
        chunked = await raw(client.url, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(large), large))
        assert chunked.startswith(b"HTTP/1.1 413 ")
        assert not script.exchanges


@pytest.mark.parametrize(("name", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_bodies(name: str, compress: Any) -> None:
    async with serving(Say("Hello")) as (client, _):
        body = compress(json.dumps(message(stream=False)).encode())
        answer = await client.post("/v1/messages", body, {"Content-Encoding": name})
        assert answer.status == 200, answer.body
        broken = await client.post("/v1/messages", b"not compressed at all", {"Content-Encoding": name})
        assert broken.status == 400
        assert broken.error["type"] == "invalid_request_error"


async def test_unknown_encodings_of_bodies() -> None:
    async with gateway(config_for(UNREACHED)) as client:
        for name in ("br", "zstd", "compress", "gzip, gzip"):
            answer = await client.post("/v1/messages", b"\x28\xb5\x2f\xfd", {"Content-Encoding": name})
            assert answer.status == 400, name
            assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"model":"m","messages":[],"max_tokens":1}', b"{}"]
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_bad_bodies(body: bytes, path: str) -> None:
    async with gateway(config_for(UNREACHED)) as client:
        answer = await client.post(path, body)
        assert answer.status == 400
        assert answer.error["type"] == "invalid_request_error"


async def test_expect_100_continue() -> None:
    async with serving(Say("Hello")) as (client, _):
        body = json.dumps(message(stream=False)).encode()
        head = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", int(client.url.rsplit(":", 1)[1]))
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body))
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_what_is_not_http() -> None:
    async with gateway(config_for(UNREACHED)) as client:
        for request, status in (
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b" 400 "),
            (b"GET / HTTP/1.1\r\nx: %b" % (b"y" * 70000), b" 431 "),
        ):
            answer = await raw(client.url, request)
            assert status in answer[:20]
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


async def test_api_versions() -> None:
    async with serving() as (client, _):
        assert (await client.ask(stream=False, temperature=0.5)).status == 200
        old = {"anthropic-version": "2023-06-01"}
        assert (await client.ask(stream=False, temperature=0.5, headers=old)).status == 200
        new = {"anthropic-version": "2026-10-21"}
        assert (await client.ask(stream=False, headers=new)).status == 200
        assert (await client.ask(stream=False, temperature=0.5, headers=new)).status == 400
        unknown = await client.ask(stream=False, headers={"anthropic-version": "2024-01-01"})
        assert unknown.status == 400
        assert unknown.error["message"].startswith("anthropic-version:")


# --- headers of answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_route_and_report(stream: bool) -> None:
    async with serving() as (client, _):
        plain = await client.ask(stream=stream)
        assert plain.headers["latimer-route"] == "p0/m"
        assert "latimer-report" not in plain.headers
        lossy = await client.ask(stream=stream, top_k=5, something_new={"a": 1})
        report = {entry["field"]: entry for entry in json.loads(lossy.headers["latimer-report"])}
        assert report["something_new"]["action"] == "dropped"
        assert report["top_k"]["why"]
        assert len(lossy.headers["latimer-report"]) <= 4096
        many = await client.ask(stream=stream, **{f"new_{number}": 1 for number in range(200)})
        assert len(many.headers["latimer-report"]) <= 4096
        assert json.loads(many.headers["latimer-report"])


@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_lost_of_the_answer(stream: bool) -> None:
    """A whole answer has it in its header; a stream, whose headers are long gone, in a comment."""

    async def two_answers(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("Hello")
        await exchange.chunk(event({"choices": [{"index": 1, "delta": {"content": "Or so."}}]}))
        await exchange.finish()

    async with serving(two_answers) as (client, _):
        answer = await client.ask(stream=stream)
        if stream:
            assert b'\n: latimer-report [{"field":"choices.*"' in answer.body
            assert names(answer.events)[-1] == "message_stop"
        else:
            assert json.loads(answer.headers["latimer-report"])[0]["field"] == "choices.*"


async def test_headers_that_are_told() -> None:
    async with serving() as (client, _):
        headers = {"anthropic-workspace-id": "wrkspc_1", "anthropic-beta": "thinking-binding-controls-2026-08-01,new"}
        answer = await client.ask(stream=False, headers=headers)
        assert [entry["field"] for entry in json.loads(answer.headers["latimer-report"])] == ["anthropic-workspace-id"]
        assert answer.json["input_transformations"] == []
        bare = await client.post("/v1/messages", message(stream=False))
        assert json.loads(bare.headers["latimer-report"])[0]["field"] == "anthropic-version"


async def test_headers_of_streams() -> None:
    async with serving() as (client, _):
        answer = await client.ask()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("stream", [True, False])
async def test_errors_name_the_route(stream: bool) -> None:
    async with serving(failure(403, "not in your region")) as (client, _):
        answer = await client.ask(stream=stream)
        assert answer.status == 403
        assert answer.headers["latimer-route"] == "p0/m"


# --- models ----------------------------------------------------------------------------------------------------------


async def test_models() -> None:
    async with gateway(config_for(UNREACHED)) as client:
        listed = (await client.get("/v1/models?limit=1000")).json
        ids = [model["id"] for model in listed["data"]]
        assert "claude-via-p0/m" in ids
        assert listed["has_more"] is False
        assert listed["first_id"] == ids[0]
        assert listed["last_id"] == ids[-1]
        for model_id in ids:
            for path in (model_id, model_id.replace("/", "%2F")):
                found = await client.get(f"/v1/models/{path}")
                assert found.status == 200, path
                assert found.json["id"] == model_id


async def test_pages_of_models() -> None:
    async with gateway(config_for(UNREACHED)) as client:
        ids = [model["id"] for model in (await client.get("/v1/models?limit=1000")).json["data"]]
        first = (await client.get("/v1/models?limit=1")).json
        assert [model["id"] for model in first["data"]] == ids[:1]
        assert first["has_more"] is True
        rest = (await client.get(f"/v1/models?limit=1000&after_id={ids[0]}")).json
        assert [model["id"] for model in rest["data"]] == ids[1:]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=", "after_id=nobody", "before_id=nobody"])
async def test_bad_pages_of_models(query: str) -> None:
    async with gateway(config_for(UNREACHED)) as client:
        answer = await client.get(f"/v1/models?{query}")
        assert answer.status == 400
        assert answer.error["type"] == "invalid_request_error"


async def test_a_model_that_is_not_there() -> None:
    async with gateway(config_for(UNREACHED)) as client:
        answer = await client.get("/v1/models/nobody%25x")
        assert answer.status == 404
        assert answer.error == {"type": "not_found_error", "message": "model: nobody%x"}


# --- start and stop --------------------------------------------------------------------------------------------------


async def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="address already in use"):
            async with running(config_for(UNREACHED, port=taken.getsockname()[1])):
                pass


async def test_missing_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(ConfigError, match=KEY_VARIABLE):
        async with running(config_for(UNREACHED)):
            pass
    with pytest.raises(ConfigError, match="GATEWAY_TOKEN"):
        async with running(config_for(UNREACHED, token="env:GATEWAY_TOKEN")):
            pass


async def test_one_missing_key_of_two(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The other provider serves; the route without a key says which variable is missing, once."""
    monkeypatch.delenv(KEY_VARIABLE)
    async with upstream() as script:
        text = f"""
            [server]
            port = 0
            [providers.keyless]
            base_url = "{script.url}"
            [providers.keyed]
            base_url = "{script.url}"
            api_key = "env:{KEY_VARIABLE}"
            [routes]
            haiku = "keyed/m"
            default = "keyless/m"
        """
        config = parse(text, "test.toml")
        async with gateway(config) as client:
            assert (await client.ask(stream=False)).status == 200
            answer = await client.ask(model="claude-haiku-5-5")
            assert answer.status == 401
            assert KEY_VARIABLE in answer.error["message"]
            assert answer.headers["x-should-retry"] == "false"
    assert any(KEY_VARIABLE in record.getMessage() for record in caplog.records if record.levelname == "WARNING")


async def _leave(stack: Any) -> None:
    await stack.__aexit__(None, None, None)


async def test_streams_may_end_before_a_stop() -> None:
    go = asyncio.Event()

    async with upstream(halting(go)) as script:
        stack = gateway(config_for(script.url))
        client = await stack.__aenter__()
        async with client.opened() as answer:
            begun = await answer.content.readuntil(b"Hello")
            stopping = asyncio.create_task(_leave(stack))
            await asyncio.sleep(0.02)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", int(client.url.rsplit(":", 1)[1]))
            go.set()
            body = begun + await answer.read()
        await asyncio.wait_for(stopping, 2)
    assert names(events_in(body)) == [*WHOLE_TEXT[:3], "content_block_delta", "content_block_stop", *ENDING]


async def test_a_stop_ends_what_does_not_end() -> None:
    """A stream that has begun is told so; a request that waits gets a status that lets it ask again."""

    async def slow(exchange: Exchange) -> None:
        if exchange.number == 0:
            await exchange.head()
            await exchange.say("Hello")
        await hang(exchange)

    async with upstream(slow) as script:
        stack = gateway(config_for(script.url, shutdown_seconds=0.1))
        client = await stack.__aenter__()
        async with client.opened() as answer:
            begun = await answer.content.readuntil(b"Hello")
            waiting = asyncio.create_task(client.ask(stream=False))
            await eventually(lambda: len(script.exchanges) == 2)
            stopping = asyncio.create_task(_leave(stack))
            body = begun + await answer.read()
            refused = await waiting
        await asyncio.wait_for(stopping, 2)
        await eventually(lambda: all(exchange.gone.is_set() for exchange in script.exchanges))
    assert names(events_in(body))[-1] == "error"
    assert refused.status == 529
    assert refused.error["type"] == "overloaded_error"


async def test_a_stop_with_idle_connections_is_quick() -> None:
    async with upstream() as script:
        stack = gateway(config_for(script.url))
        client = await stack.__aenter__()
        assert (await client.ask(stream=False)).status == 200
        await asyncio.wait_for(_leave(stack), 1)


# --- what must never happen ------------------------------------------------------------------------------------------


async def _explode(*_: object) -> None:
    raise KeyError(f"{PROMPT} and {KEY}")


@pytest.mark.parametrize("stream", [True, False])
async def test_unexpected_errors(
    stream: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told nothing of the inside, and the log no values; `conftest.discreet` checks that."""
    monkeypatch.setattr(RealGateway, "exchange", _explode)
    async with serving() as (client, _):
        answer = await client.ask(stream=stream)
        assert answer.status == 500
        assert answer.error == {
            "type": "api_error",
            "message": "an unexpected error in Latimer; its log has the details",
        }
        assert (await client.get("/health")).status == 200
    logged = "".join(record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    assert "unexpected KeyError" in logged
    assert answer.headers["request-id"] in logged
    assert "in _explode" in logged


async def test_an_unexpected_error_after_the_stream_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Attempts, "_record", _explode_now)

    async with serving() as (client, _):
        answer = await client.ask()
        assert answer.status == 200
        assert names(answer.events)[-1] == "error"
        assert answer.events[-1][1]["error"]["type"] == "api_error"
        assert answer.events[-1][1]["request_id"] == answer.headers["request-id"]


def _explode_now(*_: object) -> None:
    raise KeyError(PROMPT)
