"""What holds for every test of security: no proxy and no certificates of the developer, and nothing waits for long."""

from collections.abc import Iterator

import pytest

from latimer.policy import retry
from latimer.shell.http.trust import tls_context
from tests.shell.harness import KEY, KEY_VARIABLE


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.01)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()
