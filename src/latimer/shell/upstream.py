"""The upstream client: one request out, its answer's bytes in, every failure named."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from msgspec import Struct

from latimer.dialects.errors.error_body import ErrorBody, read_body
from latimer.dialects.errors.failures import Asked, ConnectionKind, connection_failure, failure_of
from latimer.errors import ConfigError, Failure
from latimer.policy.config import Provider, Server, is_loopback
from latimer.policy.routing import Route
from latimer.shell.secrets import request_headers

log = logging.getLogger(__name__)

MAX_ERROR_BYTES = 256 * 1024
ERROR_SECONDS = 10.0
"""How long the body of a refusal may take; what has come by then has to do."""
DRAIN_SECONDS = 0.2
"""How long the end of a body is awaited after its last event, so that the connection can serve again."""

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class UpstreamError(Exception):
    """The upstream refused, or could not be reached (`status` 0)."""

    def __init__(self, failure: Failure, status: int = 0, error: ErrorBody | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.status = status
        self.error = error or ErrorBody()
        self.sent: frozenset[str] = frozenset()
        """The fields of the request that was refused."""


class Access(Struct, frozen=True):
    """How a provider is reached: its key and own headers, and the proxy on the way."""

    headers: dict[str, str]
    proxy: str | None


class Reply:
    """The body of a 200 answer."""

    def __init__(self, response: aiohttp.ClientResponse, asked: Asked) -> None:
        self._content = response.content
        self._asked = asked
        self._host = response.url.authority

    async def read(self) -> bytes:
        """What has arrived, at least one byte; b'' at the end. Raises `UpstreamError` when the connection breaks."""
        try:
            return await self._content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamError(named_failure(error, self._host, self._asked)) from error

    async def drain(self) -> None:
        """Read up to the end that the upstream has announced. One that does not come soon costs the connection only."""
        with suppress(aiohttp.ClientError, OSError):  # TimeoutError is an OSError
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self._content.readany():
                    pass


class UpstreamClient:
    """A pool of connections to all upstreams."""

    def __init__(self, server: Server, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._access: dict[str, Access] = {}
        # No read timeout: it would arm a timer for every read (`latimer.shell.silence`).
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=server.connect_timeout_seconds)
        # No trust_env: beside proxies it reads ~/.netrc, and a password there would go to the provider.
        self.session = aiohttp.ClientSession(
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=20),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
            read_bufsize=2**17,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self.session.close()

    @asynccontextmanager
    async def post(
        self, route: Route, body: bytes, asked: Asked, more: Mapping[str, str] = NO_HEADERS
    ) -> AsyncIterator[Reply]:
        """Send a request, with `more` headers of its own; yields the answer.

        Leaving before its end closes the connection. Raises `UpstreamError`.
        """
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json", **more}
        url = f"{route.provider.base_url}/chat/completions"
        try:
            access = await self.access(route.provider)
        except ConfigError as error:
            raise UpstreamError(Failure("authentication_error", str(error), should_retry=False)) from error
        headers |= access.headers
        try:
            response = await self.session.post(
                url, data=body, headers=headers, proxy=access.proxy, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamError(named_failure(error, route.provider.base_url, asked)) from error
        try:
            if response.status != 200:
                raise await _refusal(response, asked)
            yield Reply(response, asked)
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    async def access(self, provider: Provider) -> Access:
        """How to reach the provider, resolved once. None of the client's headers goes upstream.

        Raises `ConfigError`.
        """
        if provider.name not in self._access:
            headers = await asyncio.to_thread(request_headers, provider, self._environ)
            self._access[provider.name] = Access(headers, proxy_for(provider.base_url))
        return self._access[provider.name]


def proxy_for(url: str) -> str | None:
    """The proxy that the environment or the system names for a URL; none for this machine's own addresses."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = getproxies().get(parts.scheme, "")
    if not proxy or is_loopback(host) or proxy_bypass(host):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        log.warning("the proxy for %s is not an HTTP proxy; it is not used", host)
        return None
    return proxy


async def _refusal(response: aiohttp.ClientResponse, asked: Asked) -> UpstreamError:
    body = b""
    with suppress(aiohttp.ClientError, OSError):  # TimeoutError is an OSError
        async with asyncio.timeout(ERROR_SECONDS):
            while len(body) < MAX_ERROR_BYTES and (data := await response.content.readany()):
                body += data
    error = read_body(body)
    failure = failure_of(response.status, response.headers, error, asked, time.time())
    return UpstreamError(failure, response.status, error)


def named_failure(error: BaseException, host: str, asked: Asked) -> Failure:
    """What aiohttp or the system raised, as a failure that says what to check."""
    text = str(error) or type(error).__name__
    return connection_failure(_kind(error), asked, text if host in text else f"{host}: {text}")


_KINDS: tuple[tuple[type[BaseException], ConnectionKind], ...] = (
    (aiohttp.ClientSSLError, "tls"),
    (ssl.SSLError, "tls"),
    (aiohttp.ClientConnectorDNSError, "dns"),
    (socket.gaierror, "dns"),
    (TimeoutError, "timeout"),
    (ConnectionRefusedError, "refused"),
    (ConnectionResetError, "reset"),
    (BrokenPipeError, "reset"),
    (aiohttp.ServerDisconnectedError, "reset"),
    (aiohttp.ClientPayloadError, "reset"),
)


def _kind(error: BaseException) -> ConnectionKind:
    """The cause: aiohttp wraps the system's error in one of its own."""
    candidates = (error, getattr(error, "os_error", None))
    return next((kind for known, kind in _KINDS if any(isinstance(c, known) for c in candidates)), "other")
