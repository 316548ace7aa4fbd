"""A patient: a home with a configuration in order, a provider that works, and the command that examines it."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from click.testing import CliRunner

from latimer import __version__
from latimer.cli.doctor import doctor
from latimer.policy.claude_code import TESTED_VERSIONS
from latimer.shell import doctor_client, doctor_machine, doctor_network, instance, models
from tests.doctor import servers
from tests.faults.certificates import certificate

KEY = "sk-canary-0123456789abcdefghij"
KEY_VARIABLE = "LATIMER_TEST_KEY"
TOKEN = "token-canary-0123456789"
HEALTH = {"status": "ok", "service": "latimer", "version": __version__, "instance": "0123"}

_FOREIGN = re.compile(
    r"_?(ANTHROPIC|CLAUDE|LATIMER|XDG|UPSTREAM|SSL_CERT|NODE)_|.*_PROXY$|ENABLE_|DISABLE_|.*_API_KEY$", re.IGNORECASE
)
_PACKAGES = {"search": "ddgs", "fetch": "trafilatura", "socks": "python_socks", "keyring": "keyring"}

Finding = dict[str, str]


class World:
    """All of it below one folder. `provider` can be told to misbehave."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> None:
        self.root, self.patch, self.stack = root, monkeypatch, stack
        self.home, self.project, self.bin = root / "home", root / "project", root / "bin"
        self.config = self.home / ".config" / "latimer" / "config.toml"
        self.state = self.home / ".local" / "state" / "latimer"
        self.settings = self.home / ".claude" / "settings.json"
        self.account = self.home / ".claude.json"
        self.managed = root / "managed"
        for folder in (self.home, self.project, self.bin, self.config.parent, self.state, self.settings.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.missing: set[str] = set()
        self.provider = servers.Provider(KEY)
        self.port = self.reserved_port()
        self.arguments: list[str] = []
        self.asked: list[servers.Asked] = []
        """What Claude Code asks of `latimer_listens`."""
        self._environment()
        stack.enter_context(servers.serving(self.provider))
        self.program("claude", f'echo "{TESTED_VERSIONS[0]} (Claude Code)"')
        self.program("latimer", f'exec {shlex.quote(sys.executable)} -m latimer "$@"')
        self.configure(self.healthy())

    def _environment(self) -> None:
        for name in [name for name in os.environ if _FOREIGN.match(name)]:
            self.patch.delenv(name)
        self.set("HOME", str(self.home))
        self.set("PATH", f"{self.bin}{os.pathsep}/usr/bin{os.pathsep}/bin")
        self.set(KEY_VARIABLE, KEY)
        self.set("CLAUDE_CODE_SIMPLE_SYSTEM_PROMPT", "0")
        self.patch.chdir(self.project)
        self.patch.setattr(doctor_client, "managed_folder", lambda: self.managed)
        self.patch.setattr("latimer.launch._usual_places", lambda: iter(()))
        self.patch.setattr(doctor_machine, "find_spec", lambda package: None if package in self.missing else package)
        self.patch.setattr(doctor_machine.os, "device_encoding", lambda _: "utf-8")
        for module in (doctor_network, instance, models):  # a slow machine is no finding
            self.patch.setattr(module, "ASK_SECONDS", 30.0)

    # --- the patient ---

    def reserved_port(self) -> int:
        """A port on which nothing listens. It is not given to anybody else meanwhile, but can be listened on."""
        held = self.start(socket.socket())
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port

    def set(self, name: str, value: str) -> None:
        self.patch.setenv(name, value)

    def unset(self, name: str) -> None:
        self.patch.delenv(name, raising=False)

    def program(self, name: str, script: str, folder: Path | None = None) -> Path:
        path = (folder or self.bin) / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def healthy(self) -> dict[str, Any]:
        """A configuration in which nothing is found."""
        return {
            "server": {"port": self.port},
            "providers": {"local": {"base_url": self.provider.url, "api_key": f"env:{KEY_VARIABLE}"}},
            "routes": {"default": "local/m"},
            "web_search": {"backend": "duckduckgo"},
            "auto_mode": {"classifier": "local/m"},
        }

    def configure(self, tables: Mapping[str, Any] | str) -> None:
        self.config.write_text(tables if isinstance(tables, str) else tomlkit.dumps(tables))
        self.config.chmod(0o600)

    def change(self, path: str, value: Any) -> None:
        """One key of the configuration, by its dotted path; None takes it out."""
        tables = tomlkit.parse(self.config.read_text())
        *way, key = path.split(".")
        table: Any = tables
        for name in way:
            table = table.setdefault(name, tomlkit.table())
        if value is None:
            del table[key]
        else:
            table[key] = value
        self.config.write_text(tomlkit.dumps(tables))

    def write_json(self, path: Path, content: object) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    def certificate(self, host: str = "", days: int = 1) -> Path:
        return certificate(self.root / f"{host or 'own'}.pem", host, days=days)

    def start(self, running: AbstractContextManager[Any]) -> Any:
        return self.stack.enter_context(running)

    def stopping(self) -> ExitStack:
        """For what the cure stops: it ends with the test all the same."""
        return self.start(ExitStack())  # type: ignore[no-any-return]

    def latimer_listens(self) -> str:
        """Something that says that it is this Latimer, on its port; and Claude Code is told of it, as it should be."""
        self.asked = self.start(servers.saying(HEALTH, self.port))
        return self.tell_claude()

    def tell_claude(self) -> str:
        """What a Claude Code that is started by hand has to be told."""
        url = f"http://127.0.0.1:{self.port}"
        self.set("ANTHROPIC_BASE_URL", url)
        self.set("ANTHROPIC_AUTH_TOKEN", "latimer")
        self.set("CLAUDE_CODE_MAX_CONTEXT_TOKENS", "131072")
        self.set("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        return url

    # --- the examination ---

    def examine(self) -> list[Finding]:
        """What `latimer doctor --json` finds. No secret is in it."""
        done = CliRunner().invoke(doctor, ["--json", *self.arguments], catch_exceptions=False, standalone_mode=False)
        found = json.loads(done.stdout)
        assert done.return_value == int(any(each["severity"] == "error" for each in found["findings"]))
        assert found["ok"] == (done.return_value == 0)
        assert KEY not in done.output
        assert TOKEN not in done.output
        findings: list[Finding] = found["findings"]
        return findings

    # --- the cures ---

    def shell(self, command: str) -> str:
        """What a command prints."""
        return subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True, text=True).stdout

    def install(self, extra: str) -> None:
        self.missing.discard(_PACKAGES[extra])
        self.patch.delitem(sys.modules, _PACKAGES[extra], raising=False)
