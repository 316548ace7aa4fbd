"""What `latimer doctor` reads of Claude Code: its program, its settings files, its account, its environment."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from latimer.errors import ConfigError
from latimer.launch import find_claude
from latimer.policy.config import is_loopback
from latimer.policy.diagnosis.client import concerns, masked
from latimer.policy.diagnosis.facts import ClientFacts, ListenerFacts, Scope, Source
from latimer.shell.doctor_machine import listening, programs

CLAUDE_SECONDS = 20.0
"""How long `claude --version` may take: a cold start from a slow disk is several seconds."""

MANAGED = {
    "darwin": Path("/Library/Application Support/ClaudeCode"),
    "win32": Path("C:/Program Files/ClaudeCode"),
}
"""Where administrators put settings that nobody can change; elsewhere it is /etc/claude-code. Seen in 2.1.330."""


EDITORS = ("Code", "Code - Insiders", "VSCodium", "Cursor")

_OWN_HELPER = re.compile(r"\blatimer\b\S*\s+token\b")
_STRING = r'"(?:\\.|[^"\\])*"'
_COMMENT = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING = re.compile(rf"{_STRING}|,(?=\s*[}}\]])")


def managed_folder() -> Path:
    """Of this system."""
    return MANAGED.get(sys.platform, Path("/etc/claude-code"))


async def read_client(named: str, token: str, environ: Mapping[str, str]) -> ClientFacts:
    """Claude Code as it is installed, and what it is told. `named` is its program, `token` Latimer's own."""
    program, version, problem = await _program(named)
    sources = await asyncio.to_thread(lambda: tuple(_sources(token, environ)))
    editors = await asyncio.to_thread(lambda: tuple(_editors(environ)))
    urls = {url for source in (*sources, *editors) for url in [source.variables.get("ANTHROPIC_BASE_URL", "")] if url}
    listeners = {url: found for url in urls if (found := await asyncio.to_thread(_listener, url))}
    account, trouble = _account(environ)
    return ClientFacts(
        program,
        version,
        problem,
        others=() if named else tuple(programs("claude", environ)[1:]),
        sources=sources,
        listeners=listeners,
        editors=editors,
        account_key=account,
        account_problem=trouble,
    )


async def _program(named: str) -> tuple[str, str, str]:
    program = ""
    try:
        program = str(await asyncio.to_thread(find_claude, named))
        return program, await _output(program, "--version"), ""
    except ConfigError as error:
        return program, "", str(error)


async def _output(*command: str) -> str:
    """The first line that a program prints. Raises ConfigError when it prints none in time."""
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        child = await asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=pipe, stderr=nothing)
    except OSError as error:
        raise ConfigError(f"{command[0]} could not be started: {error.strerror}. Install it anew") from None
    try:
        output, _ = await asyncio.wait_for(child.communicate(), CLAUDE_SECONDS)
    except TimeoutError:
        raise ConfigError(f"{command[0]} --version took more than {CLAUDE_SECONDS:g} s. Install it anew") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    lines = output.decode("utf-8", "replace").strip().splitlines()
    if child.returncode or not lines:
        raise ConfigError(f"{command[0]} --version failed with exit code {child.returncode}. Install it anew")
    return lines[0]


def _sources(token: str, environ: Mapping[str, str]) -> Iterator[Source]:
    """The environment, and every settings file that is there; what is read twice counts as the weaker."""
    variables = {name: value for name, value in environ.items() if value and concerns(name)}
    yield _source("shell", "", {"env": variables}, token)
    read = set()
    for scope, path in _settings_files(environ):
        if path in read or not path.is_file():
            continue
        read.add(path)
        try:
            settings = _json_object(path)
        except ConfigError as error:
            yield Source(scope, str(path), problem=str(error))
        else:
            yield _source(scope, str(path), settings, token)


def _settings_files(environ: Mapping[str, str]) -> Iterator[tuple[Scope, Path]]:
    yield "user", _config_folder(environ) / "settings.json"
    project = Path.cwd() / ".claude"
    yield "project", project / "settings.json"
    yield "local", project / "settings.local.json"
    managed = managed_folder()
    yield "managed", managed / "managed-settings.json"
    for path in sorted((managed / "managed-settings.d").glob("*.json")):
        yield "managed", path


def _config_folder(environ: Mapping[str, str]) -> Path:
    named = environ.get("CLAUDE_CONFIG_DIR", "")
    return Path(named) if named else Path.home() / ".claude"


def _editors(environ: Mapping[str, str]) -> Iterator[Source]:
    """What editors built on VS Code set for the extension: a list of `name` and `value`, in JSON with comments."""
    for path in (
        *(folder / "User" / "settings.json" for folder in _editor_folders(environ)),
        Path(".vscode/settings.json"),
    ):
        if not path.is_file():
            continue
        try:
            entries = _json_object(path, comments=True).get("claudeCode.environmentVariables")
        except ConfigError:
            continue  # the editor says so itself
        told = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        env = {str(entry.get("name")): str(entry.get("value", "")) for entry in told}
        yield _source("editor", str(path.absolute()), {"env": env}, "")


def _editor_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    roaming = {"win32": Path(environ.get("APPDATA", "")), "darwin": Path.home() / "Library" / "Application Support"}
    folder = roaming.get(sys.platform, Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"))
    return (folder / name for name in EDITORS)


def _source(scope: Scope, path: str, settings: Mapping[str, Any], token: str) -> Source:
    told = settings.get("env")
    variables = {name: str(value) for name, value in told.items()} if isinstance(told, dict) else {}
    model, helper = settings.get("model"), settings.get("apiKeyHelper")
    return Source(
        scope,
        path,
        {name: masked(name, value) for name, value in variables.items()},
        model if isinstance(model, str) else "",
        "" if not helper else "latimer" if _OWN_HELPER.search(str(helper)) else "other",
        "modelSettings" in settings,
        token_fits=variables.get("ANTHROPIC_AUTH_TOKEN") == token,
    )


def _json_object(path: Path, comments: bool = False) -> Mapping[str, Any]:
    """Raises ConfigError that says where it is none. `comments`: those and trailing commas are left out."""
    try:
        text = path.read_text("utf-8-sig").strip()
        if comments:
            text = _TRAILING.sub(_string, _COMMENT.sub(_string, text))
        found = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise ConfigError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except UnicodeDecodeError:
        raise ConfigError("it is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"it could not be read: {error.strerror}") from None
    if not isinstance(found, dict):
        raise ConfigError("it holds no JSON object")
    return found


def _string(found: re.Match[str]) -> str:
    """A string stays as it is; what else was found goes."""
    return found[0] if found[0].startswith('"') else ""


def _listener(url: str) -> ListenerFacts | None:
    """What listens at an address of this machine; nobody else's is asked."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    return listening(host, port) if is_loopback(host) else None


def _account(environ: Mapping[str, str]) -> tuple[str, str]:
    """The file of Claude Code's account if it holds an API key or cannot be read, and in that case why."""
    named = environ.get("CLAUDE_CONFIG_DIR", "")
    path = Path(named, ".claude.json") if named else Path.home() / ".claude.json"
    if not path.is_file():
        return "", ""
    try:
        return (str(path) if _json_object(path).get("primaryApiKey") else ""), ""
    except ConfigError as error:
        return str(path), str(error)
