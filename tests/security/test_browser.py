"""What web pages can do with a gateway on the machine whose browser shows them: nothing.

The requests are those that browsers send, by the Fetch standard; `test_browsers.py` has the single headers.
"""

import asyncio
from collections.abc import Mapping

import pytest

from tests.shell.harness import Gateway, config_for, gateway, message, serving

PAGE = "https://evil.test"
UNREACHED = "http://127.0.0.1:9/v1"
PATHS = [
    "/",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/models",
    "/v1/models/x",
    "/metrics",
    "/status",
    "/ready",
]

CROSS = {"Sec-Fetch-Site": "cross-site"}
FETCH = {**CROSS, "Origin": PAGE, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
IMAGE = {**CROSS, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
FORM = {**CROSS, "Origin": PAGE, "Sec-Fetch-Mode": "navigate", "Content-Type": "text/plain"}
PREFLIGHT = {**FETCH, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
PRIVATE = {**PREFLIGHT, "Access-Control-Request-Private-Network": "true"}
REBOUND = {"Host": "evil.test:4002", "Sec-Fetch-Site": "same-origin"}


def no_cors(headers: Mapping[str, str]) -> bool:
    return not [name for name in headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", FETCH),
        ("GET", IMAGE),
        ("GET", REBOUND),
        ("POST", FETCH),
        ("POST", FORM),
        ("POST", REBOUND),
        ("OPTIONS", PREFLIGHT),
        ("OPTIONS", PRIVATE),
    ],
)
async def test_nothing_is_answered(method: str, headers: dict[str, str]) -> None:
    async with gateway(config_for(UNREACHED)) as client:
        for path in PATHS:
            answer = await client.call(method, path, headers, b"{}" if method == "POST" else None)
            assert answer.status == 403, (path, answer.body)
            assert no_cors(answer.headers)


async def test_no_answer_at_all_can_be_read_by_a_page() -> None:
    async with serving() as (client, script):
        for headers in ({}, {"Origin": PAGE}, {"Origin": "null"}):
            answers = [await client.call("HEAD", "/", headers), await client.get("/health", headers)]
            answers += [await client.post("/v1/messages", message(stream=stream), headers) for stream in (True, False)]
            answers.append(await client.call("OPTIONS", "/v1/messages", headers))
            assert all(no_cors(answer.headers) for answer in answers)
        assert len(script.exchanges) == 2  # those without an origin


async def test_options_are_refused_without_an_origin_too() -> None:
    async with gateway(config_for(UNREACHED)) as client:
        for path in PATHS:
            assert (await client.call("OPTIONS", path)).status == 405 if path != "/v1/models/x" else True


async def test_no_websocket_is_opened() -> None:
    async with gateway(config_for(UNREACHED)) as client:
        for origin in ("", f"Origin: {PAGE}\r\n"):
            answer = await _raw(
                client,
                f"GET /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n{origin}Connection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            assert not answer.startswith(b"HTTP/1.1 101"), answer
            assert answer.startswith(b"HTTP/1.1 4"), answer


async def _raw(client: Gateway, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(client.url.rpartition(":")[2]))
    writer.write(request.encode())
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer
