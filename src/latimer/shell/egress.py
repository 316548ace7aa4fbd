"""Egress: fetching a URL that a request or a model names, without being made a tool against one's own network.

Only http and https, usual ports, no credentials, public addresses only. A name is resolved once and the connection is
made to the addresses that were checked, so a second answer of the name server changes nothing. Redirects are followed
by hand and each is checked like the first URL. No proxy is used: it would resolve the name again, unchecked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import zlib
from collections.abc import Callable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct
from yarl import URL

from latimer import __version__
from latimer.policy.web import WebFetch
from latimer.server_tools.results import ToolFailure
from latimer.shell.http.trust import SYSTEM, tls_context

MAX_REDIRECTS = 5
MAX_URL = 2000
REDIRECTS = frozenset({301, 302, 303, 307, 308})
ENCODINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
HEADERS = {
    "User-Agent": f"Latimer/{__version__}",
    "Accept": "text/html, text/markdown, text/plain, application/json, application/pdf;q=0.9, */*;q=0.1",
    "Accept-Encoding": "gzip, deflate",
}
READABLE = re.compile(r"text/.+|application/(pdf|json|xml|javascript|yaml|.+\+json|.+\+xml)")
_NUMERIC_HOST = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?", re.IGNORECASE)
"""Spellings that C libraries read as an IPv4 address: decimal, octal and hexadecimal, one to four parts."""
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNUSABLE = tuple(
    ipaddress.IPv6Network(text)
    for text in ("::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2002::/16", "fec0::/10", "5f00::/16")
)
"""Ranges that stand for other addresses (tunnels, translation) or for none, whatever the standard library thinks."""


class Fetched(Struct, frozen=True):
    """What came back. `url` is where it was found, after all redirects."""

    url: str
    content_type: str
    charset: str
    body: bytes


def is_public(address: str) -> bool:
    """Whether an address is on the public Internet."""
    try:
        ip: IPAddress = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return False
        inner = ip.ipv4_mapped
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if any(ip in network for network in _UNUSABLE):
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


def checked_url(text: str, rules: WebFetch) -> URL:
    """The URL, if it may be fetched as far as it can be told without asking a name server. Raises `ToolFailure`."""
    if len(text) > MAX_URL:
        raise ToolFailure("url_too_long")
    if _UNSAFE.search(text):
        raise ToolFailure("url_not_allowed", "the URL holds a blank, a control character or a backslash")
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except ValueError:
        raise ToolFailure("invalid_tool_input", "this is not a URL") from None
    if url.scheme not in ("http", "https") or not host:
        raise ToolFailure("url_not_allowed", "only http and https URLs can be fetched")
    if url.raw_user is not None or url.raw_password is not None:
        raise ToolFailure("url_not_allowed", "the URL holds a user or a password")
    if port not in rules.ports:
        raise ToolFailure("url_not_allowed", f"port {port} is not in web_fetch.ports")
    if not rules.unsafe_allow_private_addresses and not _host_may_be_asked(host):
        raise ToolFailure("url_not_allowed", "the host is not on the public Internet")
    return url.with_fragment(None)


def _host_may_be_asked(host: str) -> bool:
    """Whether a host is a public address in its usual spelling, or a name, whose addresses are checked later."""
    if _NUMERIC_HOST.fullmatch(host) or ":" in host:
        return is_public(host)
    return host.lower().rstrip(".") != "localhost"


class CheckedResolver(AbstractResolver):
    """Resolves a name for one connection, and refuses it when any of its addresses is not public."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses to connect to. Raises OSError."""
        infos = await self.lookup(host, port, family)
        results = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, _, _, address in infos
        ]
        if not self._allow_private and not all(is_public(result["host"]) for result in results):
            raise PrivateAddress(host)
        return results

    async def lookup(self, host: str, port: int, family: int) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
        """What the system's resolver says."""
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)  # type: ignore[return-value]  # typeshed has wider address tuples

    async def close(self) -> None:
        """Nothing to close."""


class PrivateAddress(OSError):
    """A name that leads into a private network."""


class Egress:
    """Fetches within the rules. `resolver` is for tests."""

    def __init__(self, rules: WebFetch, resolver: AbstractResolver | None = None) -> None:
        self._rules = rules
        self._resolver = resolver

    async def get(self, text: str, permitted: Callable[[str], bool]) -> Fetched:
        """What a URL leads to; `permitted` is asked about it and each redirect. Raises `ToolFailure`."""
        resolver = self._resolver or CheckedResolver(allow_private=self._rules.unsafe_allow_private_addresses)
        connector = aiohttp.TCPConnector(
            resolver=resolver, use_dns_cache=False, force_close=True, ssl=tls_context(SYSTEM)
        )
        # No trust_env, no cookies: nothing of this machine or of an earlier page goes along.
        session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, headers=HEADERS
        )
        try:
            async with asyncio.timeout(self._rules.timeout_seconds), session:
                return await self._follow(session, text, permitted)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            if _private(error):
                raise ToolFailure("url_not_allowed", "the host is not on the public Internet") from None
            raise ToolFailure("url_not_accessible", type(error).__name__) from None

    async def _follow(self, session: aiohttp.ClientSession, text: str, permitted: Callable[[str], bool]) -> Fetched:
        for _ in range(MAX_REDIRECTS + 1):
            url = checked_url(text, self._rules)
            if not permitted(str(url)):
                raise ToolFailure("url_not_allowed", "the lists of domains do not permit it")
            async with session.get(url, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status not in REDIRECTS or not location:
                    return await self._read(response, url)
                if _UNSAFE.search(location):
                    raise ToolFailure("url_not_allowed", "a redirect that is not a URL")
                text = str(url.join(URL(location)))
        raise ToolFailure("url_not_accessible", f"more than {MAX_REDIRECTS} redirects")

    async def _read(self, response: aiohttp.ClientResponse, url: URL) -> Fetched:
        if response.status == 429:
            raise ToolFailure("too_many_requests")
        if response.status >= 300:
            raise ToolFailure("url_not_accessible", f"HTTP {response.status}")
        content_type = response.content_type.lower()
        if not READABLE.fullmatch(content_type):
            raise ToolFailure("unsupported_content_type", content_type)
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding != "identity" and encoding not in ENCODINGS:
            raise ToolFailure("unsupported_content_type", f"content encoding {encoding}")
        body = await self._body(response, zlib.decompressobj(ENCODINGS[encoding]) if encoding in ENCODINGS else None)
        return Fetched(str(url), content_type, response.charset or "", body)

    async def _body(self, response: aiohttp.ClientResponse, inflater: zlib._Decompress | None) -> bytes:
        """The body, never more of it in memory than the limit, however small it was when compressed."""
        limit = self._rules.max_bytes
        body = bytearray()
        async for data in response.content.iter_any():
            try:
                body += inflater.decompress(data, limit + 1 - len(body)) if inflater else data
            except zlib.error as error:
                raise ValueError("not the encoding it says") from error
            if len(body) > limit:
                raise ToolFailure("content_too_large", f"more than {limit} bytes")
        return bytes(body)


def _private(error: BaseException) -> bool:
    """aiohttp wraps what a resolver raises."""
    return isinstance(error, PrivateAddress) or isinstance(getattr(error, "os_error", None), PrivateAddress)
