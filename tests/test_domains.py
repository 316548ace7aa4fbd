"""Lists of domains: Anthropic's examples and what somebody might try to get around them."""

import pytest

from latimer.domains import Domains, parse_rules


@pytest.mark.parametrize(
    ("entry", "url", "fits"),
    [
        ("example.com", "https://example.com/", True),
        ("example.com", "https://docs.example.com/a", True),
        ("example.com", "https://EXAMPLE.com./a", True),
        ("example.com", "https://notexample.com/", False),
        ("example.com", "https://example.com.evil.net/", False),
        ("example.com", "https://evil.net/example.com", False),
        ("example.com", "https://example.com@evil.net/", False),
        ("docs.example.com", "https://docs.example.com/", True),
        ("docs.example.com", "https://example.com/", False),
        ("docs.example.com", "https://api.example.com/", False),
        ("example.com/blog", "https://example.com/blog", True),
        ("example.com/blog", "https://example.com/blog/post-1", True),
        ("example.com/blog", "https://example.com/%62log/post-1", True),
        ("example.com/blog", "https://example.com/blogger", False),
        ("example.com/blog", "https://example.com/", False),
        ("example.com/*/articles", "https://example.com/en/articles/1", True),
        ("example.com/*/articles", "https://example.com/articles", False),
        ("example.com/", "https://example.com/anything", True),
        ("münchen.de", "https://xn--mnchen-3ya.de/", True),
        ("127.0.0.1", "http://127.0.0.1:8080/", True),
        ("example.com", "not a url", False),
        ("example.com", "http://[::1", False),
    ],
)
def test_one_entry(entry: str, url: str, fits: bool) -> None:
    assert Domains(allowed=parse_rules([entry])).permit(url) is fits
    if url.startswith("http") and "[" not in url:
        assert Domains(blocked=parse_rules([entry])).permit(url) is not fits


def test_both_lists() -> None:
    both = Domains(parse_rules(["example.com"]), parse_rules(["private.example.com"]))
    assert both.permit("https://www.example.com/")
    assert not both.permit("https://private.example.com/")
    assert not both.permit("https://other.net/")
    assert Domains().permit("https://other.net/")


def test_what_cannot_be_read_is_permitted_by_no_list() -> None:
    assert not Domains(blocked=parse_rules(["example.com"])).permit("http://[::1")


@pytest.mark.parametrize(
    "entry",
    ["", "https://example.com", "*.example.com", "ex*mple.com", "example.com/*/a/*", "exam ple.com", "a..b", "/path"],
)
def test_what_is_no_domain(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a domain"):
        parse_rules([entry])
