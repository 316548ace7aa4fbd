"""What `latimer doctor` reads of Claude Code: its program, its settings files, its account, its environment."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from latimer.errors import ConfigError
from latimer.launch import find_claude, version_of
from latimer.policy.addresses import port_of
from latimer.policy.config import is_loopback
from latimer.policy.diagnosis.client import concerns, masked
from latimer.policy.diagnosis.facts import ClientFacts, ListenerFacts, Scope, Source
from latimer.policy.settings_text import parsed
from latimer.shell.connection import account_path, settings_path
from latimer.shell.doctor_machine import listening, programs

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
    program, version, problem = await asyncio.to_thread(_program, named)
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


def _program(named: str) -> tuple[str, str, str]:
    program = ""
    try:
        program = str(find_claude(named))
        return program, version_of(program), ""
    except ConfigError as error:
        return program, "", str(error)


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
    own: tuple[Scope, ...] = ("user", "project", "local")
    yield from ((scope, settings_path(scope, Path.cwd(), environ)) for scope in own)
    managed = managed_folder()
    yield "managed", managed / "managed-settings.json"
    for path in sorted((managed / "managed-settings.d").glob("*.json")):
        yield "managed", path


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
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"it could not be read: {error.strerror}") from None
    if comments:
        plain = text.decode("utf-8-sig", "replace")
        text = _TRAILING.sub(_string, _COMMENT.sub(_string, plain)).encode()
    return parsed(text)


def _string(found: re.Match[str]) -> str:
    """A string stays as it is; what else was found goes."""
    return found[0] if found[0].startswith('"') else ""


def _listener(url: str) -> ListenerFacts | None:
    """What listens at an address of this machine; nobody else's is asked."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", port_of(parts)
    except ValueError:
        return None
    return listening(host, port) if is_loopback(host) else None


def _account(environ: Mapping[str, str]) -> tuple[str, str]:
    """The file of Claude Code's account if it holds an API key or cannot be read, and in that case why."""
    path = account_path(environ)
    if not path.is_file():
        return "", ""
    try:
        return (str(path) if _json_object(path).get("primaryApiKey") else ""), ""
    except ConfigError as error:
        return str(path), str(error)
