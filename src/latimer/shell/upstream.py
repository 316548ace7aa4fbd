"""The upstream client: one request out, its answer's bytes in, every failure named."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from msgspec import Struct

from latimer.dialects.errors.error_body import ErrorBody, read_body
from latimer.dialects.errors.failures import Asked, ConnectionKind, connection_failure, failure_of
from latimer.errors import ConfigError, Failure
from latimer.policy.config import Provider, Server, is_loopback
from latimer.policy.routing import Route
from latimer.shell.http.asking import BrokenReply, Pool, Sink
from latimer.shell.secrets import request_headers

if TYPE_CHECKING:
    from latimer.shell.http.library import Library

log = logging.getLogger(__name__)

MAX_ERROR_BYTES = 256 * 1024
ERROR_SECONDS = 10.0
"""How long the body of a refusal may take; what has come by then has to do."""
DRAIN_SECONDS = 0.2
"""How long the end of a body is awaited after its last event, so that the connection can serve again."""

MAX_FETCHED_BYTES = 16 * 1024 * 1024

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


class Reply(Protocol):
    """An answer whose head has come, of this package's own client or of the library that is used behind proxies."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        ...

    async def flow(self, sink: Sink) -> bool:
        """Give what comes of the body to `sink` until it has enough (False) or the body has ended (True).

        Raises OSError when the connection breaks.
        """
        ...


class UpstreamClient:
    """A pool of connections to all upstreams."""

    def __init__(self, server: Server, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._access: dict[str, Access] = {}
        self._connect_seconds = server.connect_timeout_seconds
        self._pool = Pool(server.connect_timeout_seconds)
        self._library: Library | None = None

    async def close(self) -> None:
        """Close every connection."""
        self._pool.close()
        if self._library is not None:
            await self._library.close()

    @asynccontextmanager
    async def post(
        self, route: Route, body: bytes, asked: Asked, more: Mapping[str, str] = NO_HEADERS
    ) -> AsyncIterator[Answering]:
        """Send a request to the route's endpoint, with `more` headers of its own; yields the answer.

        Leaving before its end closes the connection. Raises `UpstreamError`.
        """
        headers = {"content-type": "application/json", "accept": "text/event-stream, application/json", **more}
        url = route.provider.url(route.profile.endpoint.dialect)
        async with AsyncExitStack() as stack:
            try:
                reply = await stack.enter_async_context(self.request(route.provider, "POST", url, body, headers))
            except ConfigError as error:
                raise UpstreamError(Failure("authentication_error", str(error), should_retry=False)) from error
            except OSError as error:
                raise UpstreamError(named_failure(error, route.provider.base_url, asked)) from error
            if not 200 <= reply.status < 300:  # a 204 is an empty answer, a 203 one that a proxy has touched
                raise await _refusal(reply, asked)
            yield Answering(reply, urlsplit(url).netloc, asked)

    @asynccontextmanager
    async def request(
        self, provider: Provider, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS
    ) -> AsyncIterator[Reply]:
        """Ask a provider anything with its key; yields the answer, whatever its status.

        Raises `ConfigError` without a usable key, else OSError: ConnectionError, socket.gaierror, ssl.SSLError,
        TimeoutError.
        """
        access = await self.access(provider)
        async with self._asked(access, method, url, body, {**headers, **access.headers}) as reply:
            yield reply

    async def fetch(
        self, provider: Provider, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS
    ) -> tuple[int, bytes]:
        """The status and the whole body (at most 16 MB) of an answer. Raises as `request` does."""
        if body:
            headers = {"content-type": "application/json", **headers}
        async with self.request(provider, method, url, body, headers) as reply:
            return reply.status, await read_body_of(reply, MAX_FETCHED_BYTES)

    def _asked(
        self, access: Access, method: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Reply]:
        if access.proxy is None:
            return self._pool.asked(method, url, headers, body)
        if self._library is None:
            # Imported where it is needed: it is half of what starting takes.
            from latimer.shell.http.library import Library  # noqa: PLC0415

            self._library = Library(self._connect_seconds)
        return self._library.asked(method, url, headers, body, access.proxy)

    async def access(self, provider: Provider) -> Access:
        """How to reach the provider, resolved once. None of the client's headers goes upstream.

        Raises `ConfigError`.
        """
        if provider.name not in self._access:
            headers = await asyncio.to_thread(request_headers, provider, self._environ)
            self._access[provider.name] = Access(headers, proxy_for(provider.base_url))
        return self._access[provider.name]


class Answering:
    """An answer that is no refusal. What breaks it is an `UpstreamError`."""

    def __init__(self, reply: Reply, host: str, asked: Asked) -> None:
        self._reply = reply
        self._host = host
        self._asked = asked

    async def flow(self, sink: Sink) -> bool:
        """As `Reply.flow`. Raises `UpstreamError` when the connection breaks."""
        try:
            return await self._reply.flow(sink)
        except OSError as error:
            raise UpstreamError(named_failure(error, self._host, self._asked)) from error

    async def drain(self) -> None:
        """Read up to the end that the upstream has announced. One that does not come soon costs the connection only."""
        with suppress(OSError):  # TimeoutError is an OSError
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._reply.flow(lambda _: True)


async def read_body_of(reply: Reply, limit: int) -> bytes:
    """The body, or its first bytes where there are more than `limit`. Raises OSError."""
    body = bytearray()
    await _collect(reply, body, limit)
    return bytes(body)


async def _collect(reply: Reply, body: bytearray, limit: int) -> None:
    """Add what comes to `body`, which keeps it whatever ends this, until there are `limit` bytes. Raises OSError."""

    def take(data: bytes) -> bool:
        body.extend(data)
        return len(body) < limit

    await reply.flow(take)


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


async def _refusal(reply: Reply, asked: Asked) -> UpstreamError:
    body = bytearray()
    with suppress(OSError):  # TimeoutError is an OSError; what has come by then has to do
        async with asyncio.timeout(ERROR_SECONDS):
            await _collect(reply, body, MAX_ERROR_BYTES)
    error = read_body(bytes(body))
    failure = failure_of(reply.status, reply.headers, error, asked, time.time())
    return UpstreamError(failure, reply.status, error)


def named_failure(error: BaseException, host: str, asked: Asked) -> Failure:
    """What the system or the HTTP client raised, as a failure that says what to check."""
    text = str(error) or type(error).__name__
    return connection_failure(_kind(error), asked, text if host in text else f"{host}: {text}")


_KINDS: tuple[tuple[type[BaseException], ConnectionKind], ...] = (
    (ssl.SSLError, "tls"),
    (socket.gaierror, "dns"),
    (TimeoutError, "timeout"),
    (ConnectionRefusedError, "refused"),
    (ConnectionResetError, "reset"),
    (BrokenPipeError, "reset"),
    (BrokenReply, "reset"),
)


def _kind(error: BaseException) -> ConnectionKind:
    return next((kind for known, kind in _KINDS if isinstance(error, known)), "other")
