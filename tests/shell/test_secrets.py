"""Secrets by reference; a canary that must never show in a message or a log."""

import logging
import sys
import types
from pathlib import Path

import pytest

from latimer.errors import ConfigError
from latimer.policy.config import LITERAL, Provider
from latimer.policy.presets import KeyHeader
from latimer.shell import secrets
from latimer.shell.secrets import request_headers, resolve, secrets_of

CANARY = "sk-canary-0123456789"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="modes and commands of POSIX systems")


def refusal(reference: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(reference, environ)
    assert CANARY not in str(caught.value)
    return str(caught.value)


def test_nothing_is_nothing() -> None:
    assert resolve("", {}) == ""


def test_a_secret_this_process_made() -> None:
    assert resolve(f"{LITERAL}{CANARY}", {}) == CANARY


def test_environment() -> None:
    assert resolve("env:KEY", {"KEY": f" {CANARY}\n"}) == CANARY
    assert refusal("env:KEY") == "the environment variable KEY is not set. Set it where Latimer is started"
    assert refusal("env:KEY", KEY="") == "the environment variable KEY is empty. Set it where Latimer is started"


@pytest.mark.parametrize("value", [f"{CANARY}\n{CANARY}", f"{CANARY}\x00", f"{CANARY}é", "  "])
def test_what_can_not_stand_in_a_header(value: str) -> None:
    assert "env:KEY gives no usable secret" in refusal("env:KEY", KEY=value)


def test_a_literal_is_not_repeated() -> None:
    assert "env:NAME" in refusal(CANARY)


@POSIX
def test_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "key file"
    path.write_text(f"{CANARY}\n")
    path.chmod(0o600)
    assert resolve(f"file:{path}", {}) == CANARY
    assert caplog.records == []
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert resolve(f"file:{path}", {}) == CANARY
    assert "can be read by other users" in caplog.text
    assert f"chmod 600 '{path}'" in caplog.text
    assert CANARY not in caplog.text


def test_a_file_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "key").write_text(CANARY)
    assert resolve("file:~/key", {}) == CANARY


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    assert "should be an absolute path" in refusal("file:key")
    assert "could not be read: No such file" in refusal(f"file:{tmp_path / 'none'}")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "could not be read: it is not text" in refusal(f"file:{tmp_path / 'binary'}")


@POSIX
def test_command() -> None:
    assert resolve(f"command:printf '%s\\n' {CANARY}", {}) == CANARY


@POSIX
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (f"sh -c 'echo {CANARY}; exit 3'", "command:sh … failed with exit code 3"),
        (f"no-such-program {CANARY}", "command:no-such-program … could not be run: No such file"),
        (f"echo '{CANARY}", "the quotes of the command do not match"),
        ("true", "command:true gives no usable secret"),
    ],
)
def test_commands_that_fail_name_their_program_only(command: str, words: str) -> None:
    assert words in refusal(f"command:{command}")


@POSIX
def test_a_command_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "COMMAND_SECONDS", 0.05)
    assert "command:sleep … did not end within 0.05 seconds" in refusal("command:sleep 5")


def test_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = {("latimer", "minimax"): CANARY}

    def get_password(service: str, name: str) -> str | None:
        if name == "locked":
            raise RuntimeError(CANARY)
        return stored.get((service, name))

    module = types.ModuleType("keyring")
    module.get_password = get_password  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", module)
    assert resolve("keyring:minimax", {}) == CANARY
    assert "store it with: keyring set latimer other" in refusal("keyring:other")
    assert refusal("keyring:locked") == "keyring:locked could not be read: RuntimeError"


def test_keyring_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "pip install 'latimer[keyring]'" in refusal("keyring:minimax")


def test_the_headers_of_a_provider() -> None:
    provider = Provider("p", "https://h/v1", api_key="env:KEY", headers={"X-Team": "blue", "X-Org": "env:ORG"})
    assert request_headers(provider, {"KEY": CANARY, "ORG": "7"}) == {
        "authorization": f"Bearer {CANARY}",
        "x-team": "blue",
        "x-org": "7",
    }
    assert request_headers(Provider("p", "https://h/v1"), {}) == {}


def test_a_header_of_ones_own_takes_the_keys_place() -> None:
    provider = Provider("p", "https://h/v1", api_key="env:KEY", headers={"Authorization": "env:BASIC"})
    assert request_headers(provider, {"KEY": "k", "BASIC": "Basic abc"}) == {"authorization": "Basic abc"}


def test_which_of_them_are_secret() -> None:
    headers = {"X-Team": "blue-team", "X-Org": "env:ORG", "X-Short": "env:SHORT", "Cookie": "env:COOKIE"}
    provider = Provider("p", "https://h/v1", api_key="env:KEY", headers=headers)
    environ = {"KEY": CANARY, "ORG": "organisation", "SHORT": "none", "COOKIE": "Basic abcdefgh"}
    assert set(secrets_of(provider, request_headers(provider, environ))) == {CANARY, "organisation", "abcdefgh"}


def test_a_missing_secret_names_the_provider_and_the_variable() -> None:
    with pytest.raises(ConfigError, match=r"^providers\.p\.api_key: the environment variable KEY is not set\."):
        request_headers(Provider("p", "https://h/v1", api_key="env:KEY"), {})
    with pytest.raises(ConfigError, match=r"^providers\.p\.headers\.X-Org: the environment variable ORG is not set\."):
        request_headers(Provider("p", "https://h/v1", headers={"X-Org": "env:ORG"}), {})


@pytest.mark.parametrize("header", ["api-key", "x-api-key"])
def test_a_key_in_a_header_of_its_own_is_bare(header: KeyHeader) -> None:
    provider = Provider("p", "https://h/v1", api_key="env:KEY", key_header=header)
    assert request_headers(provider, {"KEY": CANARY}) == {header: CANARY}


def test_the_first_variable_that_holds_something() -> None:
    assert resolve("env:A|B", {"A": "", "B": CANARY}) == CANARY
    assert resolve("env:A|B", {"A": "a", "B": CANARY}) == "a"
    with pytest.raises(ConfigError, match="none of the environment variables A, B is set"):
        resolve("env:A|B", {"A": ""})
