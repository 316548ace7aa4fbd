"""What holds for every test of the shell: nothing private is logged, and the libraries below say nothing."""

import logging
from collections.abc import Iterator

import pytest

from latimer.policy import retry
from tests.shell.harness import KEY, KEY_VARIABLE, PROMPT


@pytest.fixture(autouse=True)
def quick_and_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts, and no settings of the developer."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.01)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def discreet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Neither prompts nor keys are logged, at any level; aiohttp and asyncio have nothing to complain of."""
    caplog.set_level(logging.DEBUG)
    yield
    records = [record for phase in ("setup", "call") for record in caplog.get_records(phase)]
    formatter = logging.Formatter()
    for record in records:
        line = formatter.format(record)
        assert KEY not in line
        assert PROMPT not in line
        assert not record.name.startswith("aiohttp"), line
        assert record.name.startswith("latimer") or record.levelno < logging.WARNING, line
