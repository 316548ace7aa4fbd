"""The tables of the web tools: what a configuration may say, and what it must."""

import pytest

from latimer.errors import ConfigError
from latimer.policy.config import Config, parse
from latimer.policy.web import WebFetch, WebSearch

BASE = '[providers.local]\nbase_url = "http://127.0.0.1:1/v1"\n[routes]\ndefault = "local/m"\n'


def read(tables: str) -> Config:
    return parse(BASE + tables, "my.toml")


def test_nothing_is_on_by_default() -> None:
    config = read("")
    assert (config.web_search, config.web_fetch) == (WebSearch(), WebFetch())
    assert config.web_search.backend == ""
    assert not config.web_fetch.enabled
    assert not config.web_fetch.unsafe_allow_private_addresses
    assert config.web_fetch.ports == (80, 443)


def test_a_search_backend() -> None:
    config = read('[web_search]\nbackend = "searxng"\nbase_url = "http://127.0.0.1:8888/"\nmax_results = 3\n')
    assert config.web_search == WebSearch(backend="searxng", base_url="http://127.0.0.1:8888", max_results=3)
    assert read('[web_search]\nbackend = "brave"\napi_key = "env:BRAVE_API_KEY"\n').web_search.api_key
    assert read('[web_search]\nbackend = "duckduckgo"\n').web_search.backend == "duckduckgo"


def test_a_fetcher() -> None:
    assert read("[web_fetch]\nenabled = true\nports = [80, 443, 8443]\n").web_fetch.ports == (80, 443, 8443)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ('[web_search]\nbackend = "google"\n', "web_search.backend: 'google' is none of"),
        ('[web_search]\nbackend = "searxng"\n', "web_search.base_url: searxng is your own server"),
        (
            '[web_search]\nbackend = "brave"\n',
            'web_search.api_key: brave needs a key; write api_key = "env:BRAVE_API_KEY"',
        ),
        ('[web_search]\nbackend = "exa"\napi_key = "sk-1"\n', "web_search.api_key must not hold the secret itself"),
        ('[web_search]\nbackend = "searxng"\nbase_url = "searx"\n', "web_search.base_url: expected a URL"),
        ("[web_search]\nmax_results = 0\n", "web_search.max_results"),
        ("[web_search]\nkey = 0\n", "web_search.key: no such key"),
        ("[web_fetch]\nports = [0]\n", "web_fetch.ports"),
        ("[web_fetch]\nallow_private = true\n", "web_fetch.allow_private: no such key"),
    ],
)
def test_refusals_name_the_cure(tables: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tables)
    assert message in str(caught.value)
