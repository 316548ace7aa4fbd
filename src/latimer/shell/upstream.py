"""The upstream client: one request out, its answer's bytes in, every failure named."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from latimer.dialects.errors.error_body import ErrorBody, read_body
from latimer.dialects.errors.failures import Asked, ConnectionKind, connection_failure, failure_of
from latimer.errors import ConfigError, Failure
from latimer.policy.config import Provider, Server
from latimer.policy.routing import Route
from latimer.shell.http.asking import Asking, BrokenReply, Pool, Sink
from latimer.shell.http.proxies import ProxyFailed, Way, kind_of, proxy_for
from latimer.shell.http.socks import check_installed
from latimer.shell.http.trust import Trust, tls_context
from latimer.shell.prompt_log import MOST_OF_BODY, PromptLog
from latimer.shell.secrets import request_headers, secrets_of, without

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
    """How a provider is reached: its key and own headers, whom TLS trusts, and the proxy on the way."""

    headers: dict[str, str]
    way: Way
    secrets: tuple[str, ...] = ()
    """What of the headers must not be repeated to anybody."""


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


class Heard:
    """An answer that is kept for the prompt log."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.status = reply.status
        self.headers = reply.headers
        self.body = bytearray()

    async def flow(self, sink: Sink) -> bool:
        """As `Reply.flow`."""

        def take(data: bytes) -> bool:
            if len(self.body) <= MOST_OF_BODY:
                self.body += data
            return sink(data)

        return await self._reply.flow(take)


class UpstreamClient:
    """A pool of connections to all upstreams. Raises ConfigError for a prompt log that cannot be written."""

    def __init__(self, server: Server, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._access: dict[tuple[str, str], Access] = {}
        """By the names of providers and the references of their keys."""
        self._connect_seconds = server.connect_timeout_seconds
        self._pool = Pool(server.connect_timeout_seconds)
        self.prompts = PromptLog(server.prompt_log)
        self._library: Library | None = None

    async def close(self) -> None:
        """Close every connection."""
        self._pool.close()
        if self._library is not None:
            await self._library.close()

    def post(self, route: Route, body: bytes, asked: Asked, more: Mapping[str, str] = NO_HEADERS) -> Posting:
        """Send a request to the route's endpoint, with `more` headers of its own; yields the answer.

        Leaving before its end closes the connection. Raises `UpstreamError`.
        """
        return Posting(self, route, body, asked, more)

    def request(
        self, provider: Provider, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS
    ) -> Requesting:
        """Ask a provider anything with its key; yields the answer, whatever its status.

        Raises `ConfigError` without a usable key, else OSError: ConnectionError, socket.gaierror, ssl.SSLError,
        TimeoutError.
        """
        return Requesting(self, provider, method, url, body, headers)

    async def fetch(
        self, provider: Provider, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS
    ) -> tuple[int, bytes]:
        """The status and the whole body (at most 16 MB) of an answer. Raises as `request` does."""
        if body:
            headers = {"content-type": "application/json", **headers}
        async with self.request(provider, method, url, body, headers) as reply:
            return reply.status, without(await read_body_of(reply, MAX_FETCHED_BYTES), self.secrets(provider))

    def asked(
        self, access: Access, method: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Reply] | Asking:
        """As `request`, of an upstream whose key is known."""
        if not access.way.proxy or kind_of(access.way.proxy) == "socks":
            return self._pool.asked(method, url, headers, body, access.way)
        if self._library is None:
            # Imported where it is needed: it is half of what starting takes.
            from latimer.shell.http.library import Library  # noqa: PLC0415

            self._library = Library(self._connect_seconds)
        return self._library.asked(method, url, headers, body, access.way)

    def secrets(self, provider: Provider) -> tuple[str, ...]:
        """What was sent to the provider and must not be repeated to anybody."""
        known = self._access.get((provider.name, provider.api_key))
        return known.secrets if known else ()

    async def access(self, provider: Provider) -> Access:
        """How to reach the provider, resolved once. None of the client's headers goes upstream.

        Raises `ConfigError`.
        """
        name = provider.name, provider.api_key
        if name not in self._access:
            headers = await asyncio.to_thread(request_headers, provider, self._environ)
            secrets = secrets_of(provider, headers)
            for secret in secrets:
                self.prompts.hide(secret)
            self._access[name] = Access(headers, way_to(provider), secrets)
        return self._access[name]


class Requesting:
    """See `UpstreamClient.request`."""

    def __init__(
        self, client: UpstreamClient, provider: Provider, method: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> None:
        self._client = client
        self._provider = provider
        self._what = method, url, body, headers
        self._asking: AbstractAsyncContextManager[Reply] | Asking | None = None
        self._heard: Heard | None = None

    async def __aenter__(self) -> Reply:
        method, url, body, headers = self._what
        access = await self._client.access(self._provider)
        prompts = self._client.prompts
        prompts.write("upstream_request", body, self._provider.name)
        asking = self._client.asked(access, method, url, body, {**headers, **access.headers})
        reply: Reply = await asking.__aenter__()
        self._asking = asking
        if prompts.on:
            reply = self._heard = Heard(reply)
        return reply

    async def __aexit__(self, *failure: Any) -> None:
        if self._heard is not None:
            self._client.prompts.write("upstream_answer", bytes(self._heard.body), self._provider.name)
        if self._asking is not None:
            await self._asking.__aexit__(*failure)


class Posting:
    """See `UpstreamClient.post`."""

    def __init__(
        self, client: UpstreamClient, route: Route, body: bytes, asked: Asked, more: Mapping[str, str]
    ) -> None:
        headers = {"content-type": "application/json", "accept": "text/event-stream, application/json", **more}
        self._client = client
        self._provider = route.provider
        self._url = route.provider.url(route.profile.endpoint.dialect)
        self._asked = asked
        self._requesting = client.request(route.provider, "POST", self._url, body, headers)

    async def __aenter__(self) -> Answering:
        try:
            reply = await self._requesting.__aenter__()
        except ConfigError as error:
            raise UpstreamError(Failure("authentication_error", str(error), should_retry=False)) from error
        except OSError as error:
            failure = named_failure(error, self._provider.base_url, self._asked)
            raise UpstreamError(replace(failure, cause="unreachable")) from error
        if 200 <= reply.status < 300:  # a 204 is an empty answer, a 203 one that a proxy has touched
            return Answering(reply, urlsplit(self._url).netloc, self._asked)
        try:
            raise await _refusal(reply, self._asked, self._client.secrets(self._provider))
        finally:
            await self._requesting.__aexit__(None, None, None)

    async def __aexit__(self, *failure: Any) -> None:
        await self._requesting.__aexit__(*failure)


class Answering:
    """An answer that is no refusal. What breaks it is an `UpstreamError`."""

    def __init__(self, reply: Reply, host: str, asked: Asked) -> None:
        self._reply = reply
        self._host = host
        self._asked = asked

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        return self._reply.headers

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


def way_to(provider: Provider) -> Way:
    """Raises ConfigError, naming the provider, for files that cannot be used and proxies of an unknown kind."""
    trust = Trust(provider.ca_file, provider.client_cert_file, provider.client_key_file)
    try:
        way = Way(trust, proxy_for(provider.base_url, provider.proxy))
        if way.proxy and kind_of(way.proxy) == "socks":
            check_installed()
        if trust != Trust():
            tls_context(trust)
    except ConfigError as error:
        raise ConfigError(f"providers.{provider.name}: {error}") from None
    return way


async def _refusal(reply: Reply, asked: Asked, secrets: tuple[str, ...]) -> UpstreamError:
    body = bytearray()
    with suppress(OSError):  # TimeoutError is an OSError; what has come by then has to do
        async with asyncio.timeout(ERROR_SECONDS):
            await _collect(reply, body, MAX_ERROR_BYTES)
    error = read_body(without(bytes(body), secrets))  # some servers repeat the key that they refuse
    failure = failure_of(reply.status, reply.headers, error, asked, time.time())
    return UpstreamError(failure, reply.status, error)


def named_failure(error: BaseException, host: str, asked: Asked) -> Failure:
    """What the system or the HTTP client raised, as a failure that says what to check."""
    text = str(error) or type(error).__name__
    return connection_failure(connection_kind(error), asked, text if host in text else f"{host}: {text}")


_KINDS: tuple[tuple[type[BaseException], ConnectionKind], ...] = (
    (ProxyFailed, "proxy"),
    (ssl.SSLError, "tls"),
    (socket.gaierror, "dns"),
    (TimeoutError, "timeout"),
    (ConnectionRefusedError, "refused"),
    (ConnectionResetError, "reset"),
    (BrokenPipeError, "reset"),
    (BrokenReply, "reset"),
)


def connection_kind(error: BaseException) -> ConnectionKind:
    """What has failed on the way to an upstream."""
    return next((kind for known, kind in _KINDS if isinstance(error, known)), "other")
