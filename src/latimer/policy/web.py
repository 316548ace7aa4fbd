"""What the web tools may use: the tables `[web_search]` and `[web_fetch]` of the configuration (docs/web-tools.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Backend = Literal["", "searxng", "brave", "tavily", "exa", "duckduckgo"]
Seconds = Annotated[float, Meta(gt=0)]

NEEDS_URL = frozenset({"searxng"})
NEEDS_KEY = {"brave": "BRAVE_API_KEY", "tavily": "TAVILY_API_KEY", "exa": "EXA_API_KEY"}
"""Backends that cannot do without a key, and the variable it is usually kept in."""


class WebSearch(Struct, frozen=True, forbid_unknown_fields=True):
    """Who searches the web for models."""

    backend: Backend = ""
    """'' for nobody."""
    base_url: str = ""
    """The backend's address; '' for its public one."""
    api_key: str = ""
    """Reference to the key."""
    max_results: Annotated[int, Meta(ge=1, le=20)] = 8
    timeout_seconds: Seconds = 15.0


class WebFetch(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether models may have pages fetched, and within which limits."""

    enabled: bool = False
    ports: tuple[Annotated[int, Meta(ge=1, le=65535)], ...] = (80, 443)
    max_bytes: Annotated[int, Meta(ge=1024)] = 5 * 1024 * 1024
    """Of a page, decompressed."""
    timeout_seconds: Seconds = 20.0
    """For a page with all its redirects."""
    max_content_tokens: Annotated[int, Meta(ge=100)] = 25_000
    """Of a page's text, where the request does not say."""
    unsafe_allow_private_addresses: bool = False
    """Lets any page that a model reads reach into the network this gateway stands in. For tests only."""
