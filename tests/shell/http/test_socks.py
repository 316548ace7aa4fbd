"""Connections through a SOCKS proxy. Whole requests go through one in tests/security/test_network.py."""

import pytest

from latimer.errors import ConfigError
from latimer.shell.http import socks
from latimer.shell.http.proxies import ProxyFailed
from latimer.shell.http.socks import check_installed, connected


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(socks, "import_module", missing)
    with pytest.raises(ConfigError, match=r"pip install 'latimer\[socks\]'"):
        check_installed()


async def test_a_proxy_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(ProxyFailed) as caught:
        await connected("socks5://user:word@127.0.0.1:9", "api.test", 443, 5)
    assert "the proxy socks5://127.0.0.1:9: " in str(caught.value)
    assert "word" not in str(caught.value)
