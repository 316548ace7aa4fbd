"""Egress: what may be fetched, and that nothing else is, by whatever way it is asked for."""

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from latimer.policy.web import WebFetch
from latimer.server_tools.results import ToolFailure
from latimer.shell.egress import CheckedResolver, Egress, checked_url, is_public

RULES = WebFetch(enabled=True)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PRIVATE = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.7",
    "203.0.113.7", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "fc00::1", "fd12:3456::1", "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1", "no-address",
)  # fmt: skip
PUBLIC = (
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700:4700::1111",
    "2001:4860:4860::8888",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_that_are(address: str) -> None:
    assert is_public(address)


HOSTILE = {
    "ftp://example.com/": "url_not_allowed",
    "file:///etc/passwd": "url_not_allowed",
    "gopher://example.com/": "url_not_allowed",
    "data:text/plain,hello": "url_not_allowed",
    "javascript:alert(1)": "url_not_allowed",
    "//example.com/": "url_not_allowed",
    "example.com": "url_not_allowed",
    "": "url_not_allowed",
    "http:///path": "url_not_allowed",
    "http://user@example.com/": "url_not_allowed",
    "http://user:secret@example.com/": "url_not_allowed",
    "http://:secret@example.com/": "url_not_allowed",
    "http://example.com@127.0.0.1/": "url_not_allowed",
    "http://example.com:22/": "url_not_allowed",
    "http://example.com:8080/": "url_not_allowed",
    "https://example.com:0/": "url_not_allowed",
    "http://example.com:99999/": "invalid_tool_input",
    "http://[::1": "invalid_tool_input",
    "http://localhost/": "url_not_allowed",
    "http://LOCALHOST./": "url_not_allowed",
    "http://127.0.0.1/": "url_not_allowed",
    "http://127.0.0.1./": "url_not_allowed",
    "http://127.1/": "url_not_allowed",
    "http://2130706433/": "url_not_allowed",
    "http://0x7f000001/": "url_not_allowed",
    "http://0x7f.1/": "url_not_allowed",
    "http://0177.0.0.1/": "url_not_allowed",
    "http://017700000001/": "url_not_allowed",
    "http://134744072/": "url_not_allowed",  # 8.8.8.8, but nobody honest spells it so
    "http://127。0。0。1/": "url_not_allowed",
    "http://①②⑦.0.0.1/": "url_not_allowed",
    "http://１２７.0.0.1/": "url_not_allowed",  # noqa: RUF001
    "http://169.254.169.254/latest/meta-data/": "url_not_allowed",
    "http://[::1]/": "url_not_allowed",
    "http://[::]/": "url_not_allowed",
    "http://[::ffff:127.0.0.1]/": "url_not_allowed",
    "http://[::ffff:7f00:1]/": "url_not_allowed",
    "http://[64:ff9b::7f00:1]/": "url_not_allowed",
    "http://[fe80::1%25eth0]/": "url_not_allowed",
    "http://[fd00::1]/": "url_not_allowed",
    "http://example.com\\@127.0.0.1/": "url_not_allowed",
    "http://exam ple.com/": "url_not_allowed",
    "http://example.com/\r\nHost: x": "url_not_allowed",
    " http://example.com/": "url_not_allowed",
    "http://example.com/" + "a" * 2000: "url_too_long",
}


@pytest.mark.parametrize("url", HOSTILE, ids=lambda url: url[:40])
def test_hostile_urls(url: str) -> None:
    with pytest.raises(ToolFailure) as caught:
        checked_url(url, RULES)
    assert caught.value.code == HOSTILE[url]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com:443/a?b=c",
        "HTTPS://EXAMPLE.com/",
        "http://1.1.1.1/",
        "http://münchen.de/",
    ],
)
def test_usual_urls(url: str) -> None:
    assert checked_url(url, RULES).scheme in ("http", "https")


def test_a_fragment_is_not_sent() -> None:
    assert str(checked_url("https://example.com/a#b", RULES)) == "https://example.com/a"


class Names(AbstractResolver):
    """A name server that tells a public address first and another one ever after."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
        self.asked += 1
        address = self.answers[min(self.asked, len(self.answers)) - 1]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [{"hostname": host, "host": address, "port": port, "family": kind, "proto": 0, "flags": 0}]

    async def close(self) -> None: ...


class System(CheckedResolver):
    """The real resolver, on names of the test's own. One of them plays the Internet."""

    def __init__(self, names: Mapping[str, list[str]], trusted: str = "") -> None:
        super().__init__(allow_private=False)
        self.names = names
        self.trusted = trusted

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
        if host == self.trusted:
            return await Names(self.names[host][0]).resolve(host, port)
        return await super().resolve(host, port, family)

    async def lookup(self, host: str, port: int, family: int) -> list[Any]:
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in self.names[host]]


@asynccontextmanager
async def site(**pages: Handler) -> AsyncIterator[int]:
    """A web site on loopback; `pages` are the handlers by the first part of their path."""
    app = web.Application()
    for name, handler in pages.items():
        app.router.add_get(f"/{name}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def says(text: str | bytes, content_type: str = "text/plain", **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        body = text.encode() if isinstance(text, str) else text
        return web.Response(body=body, headers={"Content-Type": content_type, **headers})

    return handler


def leads(location: str, status: int = 302) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": location.replace("PORT", str(request.url.port))})

    return handler


def local(port: int, **rules: Any) -> WebFetch:
    return WebFetch(**{"enabled": True, "ports": (port,), "unsafe_allow_private_addresses": True, **rules})


async def failing(egress: Egress, url: str, permitted: Callable[[str], bool] = lambda _: True) -> str:
    with pytest.raises(ToolFailure) as caught:
        await egress.get(url, permitted)
    return caught.value.code


async def test_a_page() -> None:
    async with site(a=says("hello", "text/plain; charset=latin-1")) as port:
        page = await Egress(local(port)).get(f"http://127.0.0.1:{port}/a", lambda _: True)
    assert (page.body, page.content_type, page.charset) == (b"hello", "text/plain", "latin-1")


async def test_a_name_that_leads_inside_is_refused_before_any_connection() -> None:
    connected = []

    async def handler(request: web.Request) -> web.Response:
        connected.append(request.path)
        return web.Response(text="secret")

    async with site(a=handler) as port:
        rules = WebFetch(enabled=True, ports=(port,))
        resolver = System({"inside.example": ["127.0.0.1"], "mixed.example": ["93.184.216.34", "127.0.0.1"]})
        for host in resolver.names:
            assert await failing(Egress(rules, resolver), f"http://{host}:{port}/a") == "url_not_allowed"
    assert connected == []


async def test_a_rebinding_name_is_resolved_once() -> None:
    """The connection goes to the address that was checked; what the name says a moment later is not asked."""
    async with site(a=says("from the checked address")) as port:
        names = Names("127.0.0.1", "127.0.0.2")
        page = await Egress(local(port), names).get(f"http://rebind.example:{port}/a", lambda _: True)
    assert page.body == b"from the checked address"
    assert names.asked == 1


async def test_an_unknown_name() -> None:
    assert await failing(Egress(RULES, System({})), "http://nowhere.example/") == "url_not_accessible"


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:PORT/secret",
        "http://localhost:PORT/secret",
        "//127.0.0.1:PORT/secret",
        "http://inside.example:PORT/secret",
        "http://2130706433:PORT/secret",
        "http://[::ffff:127.0.0.1]:PORT/secret",
        "file:///etc/passwd",
        "http://user:pass@outside.example:PORT/secret",
        "http://outside.example:1/secret",
    ],
)
async def test_redirects_are_checked_like_the_first_url(location: str) -> None:
    seen = []

    async def secret(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(text="secret")

    resolver = System({"outside.example": ["127.0.0.1"], "inside.example": ["127.0.0.1"]}, trusted="outside.example")
    async with site(start=leads(location), end=leads("/last"), last=says("fine"), secret=secret) as port:
        egress = Egress(WebFetch(enabled=True, ports=(port,)), resolver)
        assert await failing(egress, f"http://outside.example:{port}/start") == "url_not_allowed"
        assert (await egress.get(f"http://outside.example:{port}/end", lambda _: True)).body == b"fine"
    assert seen == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(status: int) -> None:
    async with site(start=leads("/end", status), end=says("the end")) as port:
        page = await Egress(local(port)).get(f"http://127.0.0.1:{port}/start", lambda _: True)
    assert (page.body, page.url) == (b"the end", f"http://127.0.0.1:{port}/end")


async def test_redirects_without_end() -> None:
    async with site(start=leads("/start")) as port:
        assert await failing(Egress(local(port)), f"http://127.0.0.1:{port}/start") == "url_not_accessible"


async def test_the_lists_of_domains_hold_for_redirects_too() -> None:
    async with site(start=leads("/private"), private=says("x")) as port:
        url = f"http://127.0.0.1:{port}/start"
        assert await failing(Egress(local(port)), url, lambda url: "private" not in url) == "url_not_allowed"


async def test_huge_bodies() -> None:
    async with site(a=says("x" * 3000), b=says("x" * 2000)) as port:
        egress = Egress(local(port, max_bytes=2000))
        assert await failing(egress, f"http://127.0.0.1:{port}/a") == "content_too_large"
        assert len((await egress.get(f"http://127.0.0.1:{port}/b", lambda _: True)).body) == 2000


async def test_bodies_without_end() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b"x" * 65536)
        return response

    async with site(a=endless) as port:
        assert await failing(Egress(local(port, max_bytes=10**6)), f"http://127.0.0.1:{port}/a") == "content_too_large"


async def test_a_bomb_is_never_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 60_000
    async with site(a=says(bomb, **{"Content-Encoding": "gzip"})) as port:
        assert await failing(Egress(local(port)), f"http://127.0.0.1:{port}/a") == "content_too_large"


@pytest.mark.parametrize(
    ("encoding", "packed"), [("gzip", gzip.compress(b"hi", mtime=0)), ("deflate", zlib.compress(b"hi"))]
)
async def test_compressed_bodies(encoding: str, packed: bytes) -> None:
    async with site(a=says(packed, **{"Content-Encoding": encoding})) as port:
        assert (await Egress(local(port)).get(f"http://127.0.0.1:{port}/a", lambda _: True)).body == b"hi"


async def test_encodings_nobody_asked_for() -> None:
    async with site(
        a=says(b"?", **{"Content-Encoding": "br"}), b=says(b"no gzip at all", **{"Content-Encoding": "gzip"})
    ) as port:
        assert await failing(Egress(local(port)), f"http://127.0.0.1:{port}/a") == "unsupported_content_type"
        assert await failing(Egress(local(port)), f"http://127.0.0.1:{port}/b") == "url_not_accessible"


async def test_slow_bodies() -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with suppress(ConnectionError):
            for _ in range(20):
                await response.write(b"x")
                await asyncio.sleep(0.05)
        return response

    async with site(a=slow) as port:
        egress = Egress(local(port, timeout_seconds=0.3))
        assert await failing(egress, f"http://127.0.0.1:{port}/a") == "url_not_accessible"


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "application/zip", "video/mp4"])
async def test_what_no_model_can_read(kind: str) -> None:
    async with site(a=says("x", kind)) as port:
        assert await failing(Egress(local(port)), f"http://127.0.0.1:{port}/a") == "unsupported_content_type"


@pytest.mark.parametrize(
    ("status", "code"), [(404, "url_not_accessible"), (500, "url_not_accessible"), (429, "too_many_requests")]
)
async def test_refusals(status: int, code: str) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with site(a=handler) as port:
        assert await failing(Egress(local(port)), f"http://127.0.0.1:{port}/a") == code


async def test_nothing_of_this_machine_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}

    async def handler(request: web.Request) -> web.Response:
        seen.update(request.headers)
        return web.Response(text="x", headers={"Set-Cookie": "a=b"})

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with site(a=handler) as port:
        egress = Egress(local(port))
        for _ in range(2):
            await egress.get(f"http://127.0.0.1:{port}/a", lambda _: True)
    assert set(seen) == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}
