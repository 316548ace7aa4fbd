"""`latimer init` as its users meet it: a process of its own with an empty home, on a terminal and without one."""

import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.replies import Say, failure
from tests.terminal import Terminal
from tests.upstream import Upstream

KEY = "sk-canary-0123456789abcdefghij"
TERMINAL = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
# A backend that keeps keys in a file, so that it can be seen what was stored.
BACKEND = """
import json, os, pathlib
from keyring.backend import KeyringBackend

class Backend(KeyringBackend):
    priority = 9
    path = pathlib.Path(os.environ["KEYS"])

    def _all(self):
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def get_password(self, service, username):
        return self._all().get(f"{service}/{username}")

    def set_password(self, service, username, password):
        if os.environ.get("KEYS_FAIL"):
            raise RuntimeError(f"no room for {password}")
        self.path.write_text(json.dumps(self._all() | {f"{service}/{username}": password}))

    def delete_password(self, service, username):
        left = self._all()
        del left[f"{service}/{username}"]
        self.path.write_text(json.dumps(left))
"""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(lambda _: Say("OK"), key=KEY) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "keyring_of_tests.py").write_text(BACKEND)
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def environment(home: Path, **more: str) -> dict[str, str]:
    found = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "LATIMER_STATE_DIR": str(home / "state"),
        "PYTHONPATH": str(home.parent),
        "PYTHON_KEYRING_BACKEND": "keyring_of_tests.Backend",
        "KEYS": str(home / "keys.json"),
        "TERM": "dumb",
    }
    return {**found, **more}


def init(home: Path, *arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "latimer", "init", *arguments],
        env=environment(home, **more),
        cwd=home,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def config_of(home: Path) -> Path:
    return home / ".config" / "latimer" / "config.toml"


def stored(home: Path) -> Mapping[str, Any]:
    path = home / "keys.json"
    return json.loads(path.read_text()) if path.exists() else {}


def everything_in(home: Path) -> str:
    """All files that were written, but for the keyring's."""
    files = [path for path in home.rglob("*") if path.is_file() and path.name != "keys.json"]
    return "\n".join(path.read_text(errors="replace") for path in files)


# --- without a terminal ---


def test_flags_alone(home: Path, upstream: Upstream) -> None:
    flags = ["--provider", "acme", "--base-url", upstream.url, "--api-key-env", "ACME_KEY", "--model", "m"]
    done = init(home, *flags, "--json", ACME_KEY=KEY)
    assert done.returncode == 0, done.stderr
    written = tomllib.loads(config_of(home).read_text())
    assert written == {
        "providers": {"acme": {"base_url": upstream.url, "api_key": "env:ACME_KEY"}},
        "routes": {"default": "acme/m"},
    }
    assert stat.S_IMODE(config_of(home).stat().st_mode) == 0o600
    assert stat.S_IMODE(config_of(home).parent.stat().st_mode) == 0o700
    assert json.loads(done.stdout) == {
        "config": str(config_of(home)),
        "written": True,
        "backup": None,
        "provider": "acme",
        "api_key": "env:ACME_KEY",
        "routes": {"default": "acme/m"},
        "checked": [{"route": "acme/m", "answers": True, "why": None}],
    }
    assert [exchange.headers["authorization"] for exchange in upstream.exchanges] == [f"Bearer {KEY}"]
    assert KEY not in done.stdout + done.stderr + everything_in(home)


def test_a_key_from_standard_input_goes_into_the_keyring(home: Path, upstream: Upstream) -> None:
    flags = ["--provider", "acme", "--base-url", upstream.url, "--api-key-stdin", "--model", "m", "--haiku", "m"]
    done = init(home, *flags, stdin=f"{KEY}\n")
    assert done.returncode == 0, done.stderr
    assert stored(home) == {"latimer/acme": KEY}
    assert tomllib.loads(config_of(home).read_text())["providers"]["acme"]["api_key"] == "keyring:acme"
    assert KEY not in done.stdout + done.stderr + everything_in(home)
    assert len(upstream.exchanges) == 1, "one model is tried once"


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        ([], ["--provider NAME or --base-url URL", "--model NAME"]),
        (["--provider", "openai"], ["--model NAME"]),
        (
            ["--provider", "openai", "--model", "m"],
            ["--api-key-env VAR", "OPENAI_API_KEY is not set", "--api-key-stdin"],
        ),
    ],
)
def test_what_is_missing(home: Path, flags: list[str], missing: list[str]) -> None:
    done = init(home, *flags)
    assert done.returncode == 2
    assert all(words in done.stderr for words in missing), done.stderr
    assert not config_of(home).exists()


def test_a_key_where_its_variables_name_belongs_is_not_shown(home: Path) -> None:
    done = init(home, "--provider", "openai", "--model", "m", "--api-key-env", KEY)
    assert done.returncode == 2
    assert "the name of an environment variable" in done.stderr
    assert KEY not in done.stdout + done.stderr


def test_without_a_keyring(home: Path, upstream: Upstream) -> None:
    flags = ["--base-url", upstream.url, "--api-key-stdin", "--model", "m"]
    done = init(home, *flags, stdin=KEY, PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring")
    assert done.returncode == 1
    assert "this system has none that can be used" in done.stderr
    assert "--api-key-env VAR" in done.stderr
    assert not config_of(home).exists()


def test_a_keyring_that_fails_leaves_nothing(home: Path, upstream: Upstream) -> None:
    flags = ["--base-url", upstream.url, "--api-key-stdin", "--model", "m"]
    done = init(home, *flags, stdin=KEY, KEYS_FAIL="1")
    assert done.returncode == 1
    assert "the keyring did not take the key: RuntimeError" in done.stderr
    assert KEY not in done.stdout + done.stderr
    assert not config_of(home).exists()


def test_a_wrong_key_writes_nothing_and_names_the_cure(home: Path, upstream: Upstream) -> None:
    flags = ["--base-url", upstream.url, "--api-key-env", "ACME_KEY", "--model", "m"]
    done = init(home, *flags, ACME_KEY="sk-wrong-0123456789abcdefghij")
    assert done.returncode == 1
    assert "ACME_KEY" in done.stderr
    assert "Nothing was written" in done.stderr
    assert not config_of(home).exists()
    assert "sk-wrong" not in done.stderr
    assert init(home, *flags, "--no-check", ACME_KEY="wrong").returncode == 0
    assert config_of(home).exists()


def test_a_failing_file_takes_the_key_out_of_the_keyring_again(home: Path, upstream: Upstream) -> None:
    (home / ".config").write_text("a file where a folder belongs")
    flags = ["--base-url", upstream.url, "--api-key-stdin", "--model", "m", "--provider", "acme"]
    done = init(home, *flags, stdin=KEY)
    assert done.returncode != 0
    assert stored(home) == {}


OLD = """# mine
[server]
port = 4100  # not the usual one

[providers.acme]
base_url = "http://127.0.0.1:9/v1"
api_key = "env:OLD"
headers = { "x-team" = "blue" }  # asked for by accounting

[routes]
default = "acme/old"  # cheap
opus = "acme/big"
"""


def test_an_existing_file_keeps_its_comments(home: Path, upstream: Upstream) -> None:
    path = config_of(home)
    path.parent.mkdir(parents=True)
    path.write_text(OLD)
    flags = ["--provider", "acme", "--base-url", upstream.url, "--api-key-env", "ACME_KEY", "--model", "m"]
    refused = init(home, *flags, ACME_KEY=KEY)
    assert (refused.returncode, path.read_text()) == (2, OLD)
    assert "--yes" in refused.stderr
    done = init(home, *flags, "--yes", ACME_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert path.with_name("config.toml.bak").read_text() == OLD
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert text == OLD.replace("http://127.0.0.1:9/v1", upstream.url).replace("env:OLD", "env:ACME_KEY").replace(
        '"acme/old"', '"acme/m"'
    )
    assert '-default = "acme/old"  # cheap' in done.stderr
    assert '+default = "acme/m"  # cheap' in done.stderr


def test_a_file_that_is_no_configuration_is_left_alone(home: Path, upstream: Upstream) -> None:
    path = config_of(home)
    path.parent.mkdir(parents=True)
    path.write_text("[servr]\n")
    done = init(home, "--base-url", upstream.url, "--api-key-env", "K", "--model", "m", "--yes", K=KEY)
    assert (done.returncode, path.read_text()) == (2, "[servr]\n")
    assert "did you mean server?" in done.stderr


# --- on a terminal ---


def on_terminal(home: Path, *arguments: str, **more: str) -> Terminal:
    return Terminal(["init", *arguments], home, environment(home, **more))


@TERMINAL
def test_the_whole_conversation(home: Path, upstream: Upstream) -> None:
    terminal = on_terminal(home)
    terminal.expect("base URL of another")
    terminal.type("nonsense-nobody-has")
    terminal.expect("none of them")
    terminal.expect("base URL of another")
    terminal.type(upstream.url)
    terminal.expect("not shown")
    terminal.expect(": ")
    terminal.type(KEY)
    terminal.expect("   1  m\n")
    terminal.expect("Model: ")
    terminal.type("1")
    for tier in ("opus", "sonnet", "haiku"):
        terminal.expect(f"Model for {tier} [m]")
        terminal.type("")
    terminal.expect("Trying")
    terminal.expect("[Y/n]")
    assert not config_of(home).exists()
    assert stored(home) == {}, "nothing is stored before it was agreed to"
    terminal.type("y")
    assert terminal.end() == 0, terminal.output
    written = tomllib.loads(config_of(home).read_text())
    name = next(iter(written["providers"]))
    assert written["providers"][name] == {"base_url": upstream.url, "api_key": f"keyring:{name}"}
    assert written["routes"] == {"default": f"{name}/m"}
    assert stored(home) == {f"latimer/{name}": KEY}
    assert KEY not in terminal.output + everything_in(home)
    assert re.search(r"^ +\d+  openai +\S", terminal.output, re.MULTILINE), "presets are listed with their titles"


@TERMINAL
def test_a_tier_that_went_elsewhere_goes_where_it_is_sent(home: Path, upstream: Upstream) -> None:
    """Enter at `Model for opus [m]` means m, not what the file says of opus."""
    config_of(home).parent.mkdir(parents=True)
    config_of(home).write_text(OLD)
    flags = ["--provider", "acme", "--base-url", upstream.url, "--api-key-env", "ACME_KEY", "--model", "m"]
    terminal = on_terminal(home, *flags, ACME_KEY=KEY)
    for tier in ("opus", "sonnet", "haiku"):
        terminal.expect(f"Model for {tier} [m]")
        terminal.type("")
    terminal.expect("[Y/n]")
    terminal.type("y")
    assert terminal.end() == 0, terminal.output
    routes = tomllib.loads(config_of(home).read_text())["routes"]
    assert (routes["default"], routes["opus"]) == ("acme/m", "acme/m")
    assert "sonnet" not in routes


@TERMINAL
def test_interrupting_leaves_nothing(home: Path, upstream: Upstream) -> None:
    terminal = on_terminal(home, "--base-url", upstream.url)
    terminal.expect("not shown")
    terminal.expect(": ")
    terminal.type(KEY)
    terminal.expect("Model: ")
    terminal.interrupt()
    assert terminal.end() == 130, terminal.output
    assert stored(home) == {}
    assert not config_of(home).exists()
    assert not config_of(home).parent.exists()


@TERMINAL
def test_a_check_that_fails_can_be_overruled(home: Path, upstream: Upstream) -> None:
    upstream.play(lambda _: failure(402, "Insufficient Balance"))
    terminal = on_terminal(home, "--base-url", upstream.url, "--api-key-env", "ACME_KEY", ACME_KEY=KEY)
    terminal.expect("Model: ")
    terminal.type("m")
    for tier in ("opus", "sonnet", "haiku"):
        terminal.expect(tier)
        terminal.type("")
    terminal.expect("Insufficient Balance")
    terminal.expect("all the same?")
    terminal.type("n")
    assert terminal.end() == 130
    assert not config_of(home).exists()


@TERMINAL
def test_a_pasted_key_without_a_keyring_leaves_only_the_variables_name(home: Path, upstream: Upstream) -> None:
    backend = "keyring.backends.fail.Keyring"
    terminal = on_terminal(home, "--base-url", upstream.url, "--model", "m", "--yes", PYTHON_KEYRING_BACKEND=backend)
    terminal.expect("not shown")
    terminal.expect(": ")
    terminal.type(KEY)
    terminal.expect("cannot go into the system's keyring")
    terminal.expect("The name of that variable")
    terminal.type("ACME_KEY")
    assert terminal.end() == 0, terminal.output
    (provider,) = tomllib.loads(config_of(home).read_text())["providers"].values()
    assert provider["api_key"] == "env:ACME_KEY"
    assert KEY not in terminal.output + everything_in(home)
    assert "`export ACME_KEY=…` before you start" in terminal.output
    assert len(upstream.served) == 1, "the key was tried all the same"


@TERMINAL
def test_a_server_on_this_machine_needs_no_key(home: Path) -> None:
    with Upstream(lambda _: Say("OK")) as upstream:
        terminal = on_terminal(home, "--base-url", upstream.url, "--model", "m", "--yes")
        terminal.expect("(Enter: none)")
        terminal.type("")
        assert terminal.end() == 0, terminal.output
        assert "authorization" not in upstream.last.headers
    (provider,) = tomllib.loads(config_of(home).read_text())["providers"].values()
    assert provider == {"base_url": upstream.url}
