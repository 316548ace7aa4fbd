"""Connections through a SOCKS proxy, by the `socks` extra."""

from __future__ import annotations

import socket
from importlib import import_module
from urllib.parse import urlsplit

from latimer.errors import ConfigError

from .proxies import ProxyFailed, shown

INSTALL = "a SOCKS proxy needs the socks extra: pip install 'latimer[socks]'"


def check_installed() -> None:
    """Raises ConfigError without the extra."""
    try:
        import_module("python_socks")
    except ImportError:
        raise ConfigError(INSTALL) from None


async def connected(proxy: str, host: str, port: int, seconds: float) -> socket.socket:
    """A socket that leads to the host. The proxy resolves its name, but for `socks4://`, which cannot.

    Raises `ProxyFailed`.
    """
    check_installed()
    socks = import_module("python_socks")
    asynchronous = import_module("python_socks.async_.asyncio")
    parts = urlsplit(proxy)
    # The library knows the kinds, and whether names are resolved there is said beside them.
    plain = proxy.replace(parts.scheme, parts.scheme[:6], 1)
    try:
        made = asynchronous.Proxy.from_url(plain, rdns=parts.scheme != "socks4")
        opened: socket.socket = await made.connect(dest_host=host, dest_port=port, timeout=seconds)
    except (socks.ProxyError, OSError) as error:  # TimeoutError is an OSError
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ProxyFailed(f"the proxy {shown(proxy)}: {why}") from None
    return opened
