"""The way to a provider: proxies of each kind, private roots, client certificates, and what is said when it fails."""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from latimer.errors import ConfigError
from latimer.policy.config import parse
from tests.faults.certificates import certificate
from tests.shell.harness import KEY, KEY_VARIABLE, Response, config_for, gateway

HOST = "api.test"
"""Which no name server knows: only a proxy can lead there."""
ANSWER = json.dumps({"id": "c", "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]})
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a free port; what it is still doing at the end is cancelled."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A provider that says Hello, as often as it is asked."""
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert f"authorization: bearer {KEY}".encode() in head
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))  # type: ignore[index]
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(ANSWER)}\r\n\r\n{ANSWER}".encode())
        await writer.drain()


@asynccontextmanager
async def secure(pem: Path, *, clients: Path | None = None) -> AsyncIterator[int]:
    """A provider behind TLS; one that asks its clients for a certificate of `clients`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    async with listening(answer, context) as port:
        yield port


async def asked(url: str, rules: str = "") -> Response:
    async with gateway(config_for(url, rules=rules, retry="tries = 1")) as client:
        return await client.ask(stream=False)


def refusal(response: Response) -> str:
    """What a user is told; no message holds the key or a proxy's password."""
    text: str = response.error["message"]
    assert KEY not in text
    assert "hush" not in text
    return text


# --- proxies ---------------------------------------------------------------------------------------------------------


@dataclass
class Proxy:
    """What a proxy was asked for, and as whom. It leads everywhere to `port`."""

    port: int
    where: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            back.close()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """HTTP's CONNECT: https://www.rfc-editor.org/rfc/rfc9110#name-connect."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.where.append(head.split()[1])
        self.users.append(head.partition("Proxy-Authorization: ")[2].partition("\r\n")[0])
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await self.relay(reader, writer)

    async def socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """SOCKS 5 with user and password: https://www.rfc-editor.org/rfc/rfc1928 and rfc1929."""
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        writer.write(bytes([5, 2 if 2 in methods else 0]))
        if 2 in methods:
            _, length = await reader.readexactly(2)
            user = (await reader.readexactly(length)).decode()
            password = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
            self.users.append(f"{user}:{password}")
            writer.write(b"\x01\x00")
        _, _, _, kind = await reader.readexactly(4)
        assert kind == 3, "the name is left to the proxy"
        name = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.where.append(f"{name}:{port}")
        writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x01")
        await self.relay(reader, writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("kind", ["http", "socks5", "socks5h"])
async def test_tls_through_a_proxy(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = certificate(tmp_path / "own.pem", HOST)
    async with secure(pem) as port:
        proxy = Proxy(port)
        async with listening(proxy.connect if kind == "http" else proxy.socks) as at:
            monkeypatch.setenv("https_proxy", f"{kind}://user:hush@127.0.0.1:{at}")
            response = await asked(f"https://{HOST}/v1", f'ca_file = "{pem}"')
    assert response.status == 200, response.body
    assert set(proxy.where) == {f"{HOST}:443"}
    assert set(proxy.users) == {"Basic dXNlcjpodXNo" if kind == "http" else "user:hush"}


async def test_without_tls_through_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(answer) as port:
        proxy = Proxy(port)
        async with listening(proxy.socks) as at:
            monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{at}")
            assert (await asked(f"http://{HOST}:8080/v1")).status == 200
    assert set(proxy.where) == {f"{HOST}:8080"}
    assert proxy.users == []


async def test_a_providers_own_proxy_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(answer) as port:
        proxy = Proxy(port)
        async with listening(proxy.socks) as at:
            response = await asked(f"http://{HOST}/v1", f'proxy = "socks5://127.0.0.1:{at}"')
            assert response.status == 200
            ways = len(proxy.where)  # its engine was asked for, too
            monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{at}")
            assert (await asked(f"http://{HOST}/v1", 'proxy = "none"')).status == 500
            monkeypatch.setenv("NO_PROXY", ".test")
            assert (await asked(f"http://{HOST}/v1")).status == 500
    assert ways == len(proxy.where) > 0


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def _refuse_socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(3)
    writer.write(b"\x05\xff")
    await writer.drain()


@pytest.mark.parametrize(("kind", "talk"), [("http", _refuse), ("socks5", _refuse_socks)])
async def test_a_proxy_that_refuses_is_named(kind: str, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(talk) as at:
        monkeypatch.setenv("https_proxy", f"{kind}://user:hush@127.0.0.1:{at}")
        said = refusal(await asked(f"https://{HOST}/v1"))
    assert f"the proxy {kind}://127.0.0.1:{at}" in said
    assert "HTTPS_PROXY" in said


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_proxy_that_is_not_there_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"{kind}://user:hush@127.0.0.1:9")
    said = refusal(await asked(f"https://{HOST}/v1"))
    assert f"the proxy {kind}://127.0.0.1:9" in said
    assert "HTTPS_PROXY" in said


def test_a_password_does_not_belong_into_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"providers.p.proxy must not hold a user or a password") as caught:
        parse('[providers.p]\nbase_url = "https://a.test/v1"\nproxy = "http://user:hush@b.test"\n', "f")
    assert "hush" not in str(caught.value)


# --- certificates ----------------------------------------------------------------------------------------------------


async def test_a_private_root_is_the_providers_alone(tmp_path: Path) -> None:
    pem = certificate(tmp_path / "own.pem")
    async with secure(pem) as port:
        url = f"https://127.0.0.1:{port}/v1"
        config = parse(
            "\n".join(
                [
                    "[server]\nport = 0\n[retry]\ntries = 1",
                    f'[providers.one]\nbase_url = "{url}"\napi_key = "env:{KEY_VARIABLE}"\nca_file = "{pem}"',
                    f'[providers.two]\nbase_url = "{url}"\napi_key = "env:{KEY_VARIABLE}"',
                    '[routes]\none = "one/m"\ntwo = "two/m"',
                ]
            ),
            "test.toml",
        )
        async with gateway(config) as client:
            assert (await client.ask(stream=False, model="one")).status == 200
            said = refusal(await client.ask(stream=False, model="two"))
    assert "self-signed certificate" in said
    assert "SSL_CERT_FILE" in said
    assert "ca_file" in said


async def test_the_environments_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = certificate(tmp_path / "own.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with secure(pem) as port:
        assert (await asked(f"https://127.0.0.1:{port}/v1")).status == 200


async def test_a_certificate_that_has_expired(tmp_path: Path) -> None:
    pem = certificate(tmp_path / "own.pem", days=-2)
    async with secure(pem) as port:
        said = refusal(await asked(f"https://127.0.0.1:{port}/v1", f'ca_file = "{pem}"'))
    assert "certificate has expired" in said


async def test_a_certificate_of_another_host(tmp_path: Path) -> None:
    pem = certificate(tmp_path / "own.pem", "other.test")
    async with secure(pem) as port:
        said = refusal(await asked(f"https://127.0.0.1:{port}/v1", f'ca_file = "{pem}"'))
    assert "certificate is not valid for '127.0.0.1'" in said


async def test_a_client_certificate(tmp_path: Path) -> None:
    pem, client = certificate(tmp_path / "own.pem"), certificate(tmp_path / "client.pem")
    async with secure(pem, clients=client) as port:
        url, trust = f"https://127.0.0.1:{port}/v1", f'ca_file = "{pem}"'
        assert (await asked(url, trust)).status == 500
        assert (await asked(url, f'{trust}\nclient_cert_file = "{client}"')).status == 200
        both = f'{trust}\nclient_cert_file = "{client}"\nclient_key_file = "{client}"'
        assert (await asked(url, both)).status == 200


async def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"providers.p0: ca_file: .*missing.pem could not be read: No such file"):
        await asked("https://127.0.0.1:9/v1", f'ca_file = "{tmp_path}/missing.pem"')


async def test_there_is_no_switch_that_turns_verification_off() -> None:
    """Nothing of the configuration has such a name, and no context of ours is made without it."""
    for key in ("verify", "tls_verify", "insecure", "skip_verify"):
        with pytest.raises(ConfigError, match=key):
            config_for("https://127.0.0.1:9/v1", rules=f"{key} = false")
    sources = Path(__file__).parents[2] / "src" / "latimer"
    for path in sources.rglob("*.py"):
        text = path.read_text("utf-8")
        assert not re.search(r"CERT_NONE|check_hostname\s*=\s*False|_create_unverified|ssl=False", text), path
