"""Which proxy is used, and which hosts go without one."""

import pytest

from latimer.errors import ConfigError
from latimer.shell.http import proxies
from latimer.shell.http.proxies import bypassed, kind_of, proxy_for, shown, without_password


def test_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("https_proxy", "proxy.test:3128")
    monkeypatch.setenv("no_proxy", "inside.test")
    assert proxy_for("http://api.test/v1") == "http://proxy.test:3128"
    assert proxy_for("https://api.test/v1") == "http://proxy.test:3128"
    assert proxy_for("https://inside.test/v1") == ""


def test_one_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5h://proxy.test:1080")
    monkeypatch.setenv("HTTP_PROXY", "http://other.test:3128")
    assert proxy_for("https://api.test/v1") == "socks5h://proxy.test:1080"
    assert proxy_for("http://api.test/v1") == "http://other.test:3128"


@pytest.mark.parametrize("local", ["127.0.0.1:8080", "localhost:11434", "[::1]:8080", "127.0.0.2", "LOCALHOST"])
def test_this_machine_needs_none(local: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    assert proxy_for(f"http://{local}/v1") == ""
    assert proxy_for(f"http://{local}/v1", "http://own.test:1") == "http://own.test:1"


def test_a_providers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy_for("https://api.test/v1", "socks5://own.test:1080") == "socks5://own.test:1080"
    monkeypatch.delenv("NO_PROXY")
    assert proxy_for("https://api.test/v1") == "http://proxy.test:3128"
    assert proxy_for("https://api.test/v1", "none") == ""


def test_those_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "getproxies", lambda: {"https": "http://system.test:8080"})
    monkeypatch.setattr(proxies, "proxy_bypass", lambda host: host == "inside.test")
    assert proxy_for("https://api.test/v1") == "http://system.test:8080"
    assert proxy_for("https://inside.test/v1") == ""


@pytest.mark.parametrize("proxy", ["ftp://user:word@proxy.test:21", "http://", "http://user:word@proxy.test:port"])
def test_unusable_ones_are_refused_without_their_password(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        proxy_for("https://api.test/v1")
    assert "word" not in str(caught.value)


@pytest.mark.parametrize(
    ("no_proxy", "host", "port"),
    [
        ("*", "api.test", 443),
        ("other, *", "api.test", 443),
        ("api.test", "api.test", 443),
        ("api.test", "deep.api.test", 443),
        (".api.test", "deep.api.test", 443),
        (".api.test", "api.test", 443),
        ("*.api.test", "deep.api.test", 443),
        ("API.Test", "api.TEST.", 443),
        ("a.test b.test,api.test", "api.test", 443),
        ("api.test:8443", "api.test", 8443),
        ("10.0.0.0/8", "10.20.30.40", 443),
        ("10.1.2.3/8", "10.20.30.40", 443),
        ("10.20.30.40", "10.20.30.40", 443),
        ("10.20.30.40:443", "10.20.30.40", 443),
        ("fd00::/8", "fd12::1", 443),
        ("[fd12::1]", "fd12::1", 443),
        ("[fd12::1]:443", "fd12::1", 443),
        ("fd12::1", "fd12:0::1", 443),
    ],
)
def test_hosts_that_go_without(no_proxy: str, host: str, port: int) -> None:
    assert bypassed(host, port, no_proxy)


@pytest.mark.parametrize(
    ("no_proxy", "host", "port"),
    [
        ("", "api.test", 443),
        (",, ,", "api.test", 443),
        (".", "api.test", 443),
        ("api.test", "myapi.test", 443),
        ("api.test", "api.test.evil.test", 443),
        ("api.test:8443", "api.test", 443),
        ("10.0.0.0/8", "11.0.0.1", 443),
        ("10.0.0.0/8", "10.example.test", 443),
        ("fd00::/8", "10.0.0.1", 443),
        ("10.0.0.0/99", "10.0.0.1", 443),
        ("[fd12::1]:8443", "fd12::1", 443),
    ],
)
def test_hosts_that_do_not(no_proxy: str, host: str, port: int) -> None:
    assert not bypassed(host, port, no_proxy)


def test_what_messages_show_of_one() -> None:
    proxy = "http://us%40er:word@proxy.test:3128"
    assert shown(proxy) == "http://proxy.test:3128"
    assert shown("socks5://[::1]:1080") == "socks5://[::1]:1080"
    assert without_password(f"no answer of {proxy}", proxy) == "no answer of http://proxy.test:3128"
    assert (kind_of(proxy), kind_of("socks5h://a:1")) == ("http", "socks")
