"""No web page may ask, whatever name it has given this machine. https://owasp.org/www-community/attacks/csrf"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from latimer.errors import Failure, Rejection
from latimer.policy.config import is_loopback

_FORWARDED = ("x-forwarded-host", "x-original-host")
"""What a reverse proxy that rewrites `host` was asked for. Nothing is believed for their sake, but much refused."""
_OWN_TAB = ("none", "")
"""`sec-fetch-site` of what a user typed. All else comes from a page: https://w3c.github.io/webappsec-fetch-metadata/"""


def check_page(headers: Mapping[str, Sequence[str]], listens_at: str, token: str) -> None:
    """Refuse what comes from a web page. Raises `Rejection` (403).

    Browsers send `origin` with every request that could change or read anything, and `sec-fetch-site` with those that
    pictures and scripts make. A page whose own name was made to lead here (DNS rebinding) shows that name in `host`,
    which is checked where no token is asked for: no page knows that, and containers reach this machine by other names.
    """
    if "origin" in headers or any(value.strip().lower() not in _OWN_TAB for value in headers.get("sec-fetch-site", ())):
        raise Rejection(Failure("permission_error", "requests from web pages are not answered"))
    if token or not is_loopback(listens_at):
        return
    for name in ("host", *_FORWARDED):
        for host in headers.get(name, ()):
            if host and not is_this_machine(host):
                message = f"{name.title()} {host!r} is not this machine's loopback address"
                hint = "; to serve other machines, set a token (server.token, LATIMER_TOKEN)"
                raise Rejection(Failure("permission_error", message + hint))


@lru_cache(maxsize=64)
def is_this_machine(host: str) -> bool:
    """Whether a Host header, perhaps with a port and brackets, means loopback; one that cannot be read means nobody."""
    try:
        parts = urlsplit(f"//{host}")
        name = (parts.hostname or "").removesuffix(".")
        plain = parts.netloc == host and parts.username is None and (parts.port is None or parts.port >= 0)
    except ValueError:
        return False
    return plain and is_loopback(name)
