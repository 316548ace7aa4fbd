"""Keys in the system's keyring, through the library's own API."""

import sys
from collections.abc import Iterator

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring

from latimer.errors import LatimerError
from latimer.shell import keystore
from latimer.shell.secrets import resolve

KEY = "sk-canary-0123456789abcdefghij"


class Memory(KeyringBackend):
    priority = 1.0  # type: ignore[assignment]  # a class property there

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.fails = False
        self.forgets = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.fails:
            raise RuntimeError(f"locked, and {KEY}")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.fails:
            raise RuntimeError(f"locked, and {password}")
        if not self.forgets:
            self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def memory() -> Iterator[Memory]:
    before = keyring.get_keyring()
    backend = Memory()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


def test_what_is_stored_is_what_a_reference_finds(memory: Memory) -> None:
    assert keystore.why_unusable() == ""
    keystore.store("acme", KEY)
    assert resolve("keyring:acme", {}) == keystore.stored("acme") == KEY


@pytest.mark.parametrize("before", [None, "the-former-one"])
def test_undoing(memory: Memory, before: str | None) -> None:
    if before:
        keystore.store("acme", before)
    keystore.store("acme", KEY)
    keystore.put_back("acme", before)
    assert keystore.stored("acme") == before


@pytest.mark.parametrize("fault", ["fails", "forgets"])
def test_a_keyring_that_does_not_keep_it(memory: Memory, fault: str) -> None:
    setattr(memory, fault, True)
    with pytest.raises(LatimerError) as caught:
        keystore.store("acme", KEY)
    assert KEY not in str(caught.value)
    assert keystore.stored("acme") is None
    keystore.put_back("acme", None)  # nor does undoing it raise


def test_none_that_can_be_used(memory: Memory) -> None:
    keyring.set_keyring(NoKeyring())
    assert "none that can be used" in keystore.why_unusable()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "pip install 'latimer[keyring]'" in keystore.why_unusable()
