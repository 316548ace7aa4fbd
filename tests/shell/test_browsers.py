"""Who may ask. Whole requests are in test_server.py, and in tests/security/test_browser.py."""

import pytest

from latimer.errors import Rejection
from latimer.shell.browsers import check_page, is_this_machine

HERE = {"host": ["127.0.0.1:4002"]}


def refused(headers: dict[str, list[str]], *, listens_at: str = "127.0.0.1", token: str = "") -> str:
    """What is said, '' where it may ask."""
    try:
        check_page({**HERE, **headers}, listens_at, token)
    except Rejection as rejection:
        assert rejection.failure.status == 403
        return rejection.failure.message
    return ""


@pytest.mark.parametrize("token", ["", "secret"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": ["https://evil.test"]},
        {"origin": ["null"]},
        {"origin": [""]},
        {"sec-fetch-site": ["cross-site"]},
        {"sec-fetch-site": ["same-site"]},
        {"sec-fetch-site": ["same-origin"]},
        {"sec-fetch-site": ["none", "cross-site"]},
    ],
)
def test_web_pages_may_not(headers: dict[str, list[str]], token: str) -> None:
    assert "web pages" in refused(headers, token=token)


def test_a_tab_of_ones_own_and_programs_may() -> None:
    assert not refused({"sec-fetch-site": ["none"], "sec-fetch-mode": ["navigate"]})
    assert not refused({"sec-fetch-mode": ["cors"]})  # Node's fetch says so


@pytest.mark.parametrize(
    "headers",
    [
        {"host": ["evil.test"]},
        {"host": ["evil.test:4002"]},
        {"host": ["127.0.0.1.evil.test"]},
        {"host": ["evil.test@127.0.0.1"]},
        {"host": ["127.0.0.1/evil.test"]},
        {"host": ["127.0.0.1#evil.test"]},
        {"host": ["127.0.0.1:port"]},
        {"host": ["127.0.0.1:99999"]},
        {"host": ["0.0.0.0:4002"]},
        {"host": ["2130706433"]},
        {"host": ["[::ffff:192.168.1.5]"]},
        {"host": ["127.0.0.1", "evil.test"]},
        {"x-forwarded-host": ["evil.test"]},
        {"x-original-host": ["evil.test"]},
    ],
)
def test_other_names_of_this_machine_need_a_token(headers: dict[str, list[str]]) -> None:
    assert "LATIMER_TOKEN" in refused(headers)
    assert not refused(headers, token="secret")
    assert not refused(headers, listens_at="192.168.1.5")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "LOCALHOST:80", "localhost.", "[::1]", "[::1]:4002", "127.1.2.3"]
)
def test_its_own_names(host: str) -> None:
    assert is_this_machine(host)
    assert not refused({"host": [host], "x-forwarded-host": [host]})
