"""Which proxy leads to a URL: the provider's own, the environment's (HTTPS_PROXY, NO_PROXY), or the system's."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Literal
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, getproxies_environment, proxy_bypass

from msgspec import Struct

from latimer.errors import ConfigError
from latimer.policy.addresses import port_of
from latimer.policy.config import is_loopback

from .trust import SYSTEM, Trust

HTTP = frozenset({"http", "https"})
SOCKS = frozenset({"socks5", "socks5h", "socks4", "socks4a"})
NONE = "none"
"""What a provider's `proxy` says when it is to be reached without one."""

Kind = Literal["http", "socks"]


class Way(Struct, frozen=True):
    """How connections to a provider are made. `proxy`: its URL, '' for none."""

    trust: Trust = SYSTEM
    proxy: str = ""


DIRECT = Way()


class ProxyFailed(ConnectionError):
    """The proxy could not be reached, or refused. The message names it, without its password."""


def proxy_for(url: str, own: str = "") -> str:
    """The URL of the proxy to a URL, '' for none. `own`: what the provider's configuration says.

    A proxy of the environment or the system is never used for this machine's own addresses, a provider's own is.
    Raises ConfigError for a proxy of an unknown kind.
    """
    if own:
        return "" if own == NONE else _checked(own)
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host):
        return ""
    proxies = getproxies_environment()
    if not proxies:
        proxies = getproxies()  # what macOS and Windows have in their settings, with exceptions of their own
        if proxies and proxy_bypass(host):
            return ""
    elif bypassed(host, port_of(parts), proxies.get("no", "")):
        return ""
    named = proxies.get(parts.scheme) or proxies.get("all", "")
    return _checked(named) if named else ""


def bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Whether NO_PROXY names a host: `*`, a name with all below it, an address, a network (CIDR), each with a port.

    Entries are separated by commas or blanks. There is no standard; this is what curl, Go and Python have in common:
    https://about.gitlab.com/blog/we-need-to-talk-no-proxy/
    """
    return any(_fits(host.rstrip(".").lower(), port, entry) for entry in no_proxy.replace(",", " ").lower().split())


def kind_of(proxy: str) -> Kind:
    """Of a checked proxy."""
    return "socks" if urlsplit(proxy).scheme in SOCKS else "http"


def shown(proxy: str) -> str:
    """A proxy's URL without its user and password, for messages."""
    parts = urlsplit(proxy)
    return SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], "", "", "").geturl()


def without_password(text: str, proxy: str) -> str:
    """A text with the proxy's user and password, in case a library quotes them, replaced."""
    credentials, at, _ = urlsplit(proxy).netloc.rpartition("@")
    return text.replace(f"{credentials}@", "") if at else text


def _checked(proxy: str) -> str:
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(proxy)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError("the URL of the proxy cannot be read (HTTPS_PROXY, ALL_PROXY, or the provider's `proxy`)")
    if parts.scheme not in HTTP | SOCKS:
        raise ConfigError(
            f"the proxy {shown(proxy)} is of an unknown kind; use http://, https://, socks5:// or socks5h:// "
            "(HTTPS_PROXY, ALL_PROXY, or the provider's `proxy`)"
        )
    return proxy


def _fits(host: str, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    name, only = _port_of(entry)
    if only is not None and only != port:
        return False
    name = name.strip("[]")
    try:
        address = ip_address(host)
    except ValueError:
        name = name.removeprefix("*").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    try:
        return address in ip_network(name, strict=False)
    except ValueError:
        return False


def _port_of(entry: str) -> tuple[str, int | None]:
    """`host:port`, taken apart; an IPv6 address has a port only behind brackets."""
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and (":" not in name or name.endswith("]")):
        return name, int(port)
    return entry, None
