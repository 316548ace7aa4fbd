"""aiohttp's client, for what the own one does not do: HTTP proxies."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from .asking import KEEP_ALIVE_SECONDS, BrokenReply, Sink
from .proxies import ProxyFailed, Way, shown, without_password
from .trust import tls_context


class LibraryReply:
    """An answer whose head has come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    async def flow(self, sink: Sink) -> bool:
        """As `latimer.shell.http.asking.Connection.flow`."""
        try:
            while data := await self._content.readany():
                if not sink(data):
                    return False
        except aiohttp.ClientError as error:
            raise _system_error(error) from error
        return True


class Library:
    """A pool of connections through proxies."""

    def __init__(self, connect_seconds: float) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)
        # No trust_env: beside proxies it reads ~/.netrc, and a password there would go to the provider.
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
            read_bufsize=2**17,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    @asynccontextmanager
    async def asked(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, way: Way
    ) -> AsyncIterator[LibraryReply]:
        """As `latimer.shell.http.asking.Pool.asked`."""
        try:
            response = await self._session.request(
                method,
                url,
                data=body,
                headers=dict(headers),
                proxy=way.proxy,
                ssl=tls_context(way.trust),
                allow_redirects=False,
            )
        except aiohttp.ClientError as error:
            raise _proxy_error(error, way.proxy) from None
        try:
            yield LibraryReply(response)
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()


def _proxy_error(error: aiohttp.ClientError, proxy: str) -> OSError:
    """`_system_error` of a request, of which the proxy may have a part; its password is in some of their messages."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ProxyFailed(f"the proxy {shown(proxy)}: status {error.status} {without_password(error.message, proxy)}")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        why = error.os_error.strerror or type(error.os_error).__name__
        return ProxyFailed(f"the proxy {shown(proxy)}: {why}")
    return _system_error(error)


def _system_error(error: aiohttp.ClientError) -> OSError:
    """The cause in the system's words: aiohttp wraps it in one of its own."""
    cause = getattr(error, "os_error", None)
    if isinstance(error, aiohttp.ClientSSLError):
        return ssl.SSLError(str(error))
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return socket.gaierror(str(error))
    if isinstance(cause, OSError):
        return cause
    return error if isinstance(error, OSError) else BrokenReply(str(error))
