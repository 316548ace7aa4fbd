"""Lists of domains, with Anthropic's rules for web search and web fetch.

https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/web-search-tool#domain-filtering: no scheme; subdomains are
included; a path limits the rule to what is below it, and may hold one `*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from msgspec import Struct

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*")


class Rule(Struct, frozen=True):
    """One entry of a list."""

    host: str
    path: str = ""

    def fits(self, host: str, path: str) -> bool:
        """Whether the rule speaks of this page."""
        if host != self.host and not host.endswith(f".{self.host}"):
            return False
        if "*" in self.path:
            return re.match(re.escape(self.path).replace(r"\*", ".*"), path) is not None
        return not self.path or path == self.path or path.startswith(self.path.rstrip("/") + "/")


class Domains(Struct, frozen=True):
    """Which pages a tool may use: those that are allowed, if any are named, and none that are blocked."""

    allowed: tuple[Rule, ...] = ()
    blocked: tuple[Rule, ...] = ()

    def permit(self, url: str) -> bool:
        """Whether the page may be used."""
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").rstrip(".").encode("idna").decode().lower()
        except ValueError:  # UnicodeError is one
            return False
        path = unquote(parts.path) or "/"
        if any(rule.fits(host, path) for rule in self.blocked):
            return False
        return not self.allowed or any(rule.fits(host, path) for rule in self.allowed)


def parse_rules(entries: Iterable[str]) -> tuple[Rule, ...]:
    """The rules of a list. Raises ValueError, naming the entry that is none."""
    return tuple(map(_rule, entries))


def _rule(entry: str) -> Rule:
    host, slash, path = entry.strip().partition("/")
    try:
        host = host.rstrip(".").encode("idna").decode().lower()
    except UnicodeError:
        host = ""
    if not _HOST.fullmatch(host) or path.count("*") > 1:
        raise ValueError(f"{entry!r} is not a domain such as example.com, docs.example.com or example.com/blog")
    return Rule(host, slash + unquote(path) if path else "")
