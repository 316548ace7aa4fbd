"""Secrets by reference: env:NAME, keyring:NAME, file:PATH, command:COMMAND. No message and no log holds a value."""

from __future__ import annotations

import importlib
import logging
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from latimer.errors import ConfigError
from latimer.policy.config import LITERAL, SECRET, Provider
from latimer.policy.keys import label

COMMAND_SECONDS = 30.0
KEYRING_SERVICE = "latimer"
LEAST_SECRET = 6
"""Characters. Shorter ones, such as the `none` that some local servers are given, are words of other things, too."""

_log = logging.getLogger(__name__)


def resolve(reference: str, environ: Mapping[str, str]) -> str:
    """The secret a reference stands for; '' for ''. Raises ConfigError, which names the reference and how to mend it.

    `command:` runs a program for up to 30 seconds: call this in a thread when a loop is running.
    """
    if not reference or reference.startswith(LITERAL):
        return reference.removeprefix(LITERAL)
    kind, _, rest = reference.partition(":")
    if kind == "env":
        value = _from_environment(rest, environ)
    elif kind in _READERS:
        value = _READERS[kind](rest)
    else:
        raise ConfigError("a secret is env:NAME, keyring:NAME, file:PATH or command:COMMAND")
    value = value.strip()
    if not value or not value.isprintable() or not value.isascii():
        raise ConfigError(f"{label(reference)} gives no usable secret: it must be one line of printable ASCII text")
    return value


def request_headers(provider: Provider, environ: Mapping[str, str]) -> dict[str, str]:
    """The headers a provider's requests carry: the key in its header, then the configured ones, lower-cased.

    Raises ConfigError, naming the provider. May take as long as `resolve`.
    """
    path = f"providers.{provider.name}"
    headers: dict[str, str] = {}
    if provider.api_key:
        key = _resolve_at(f"{path}.api_key", provider.api_key, environ)
        headers[provider.key_header] = f"Bearer {key}" if provider.key_header == "authorization" else key
    for name, value in provider.headers.items():
        is_reference = SECRET.fullmatch(value) is not None
        headers[name.lower()] = _resolve_at(f"{path}.headers.{name}", value, environ) if is_reference else value
    return headers


def secrets_of(provider: Provider, headers: Mapping[str, str]) -> tuple[str, ...]:
    """Those of `request_headers` that are secret, bare, to be kept out of what an upstream says."""
    named = [name.lower() for name, value in provider.headers.items() if SECRET.fullmatch(value)]
    named += [provider.key_header] if provider.api_key else []
    found = {headers[name].rpartition(" ")[2] for name in named}
    return tuple(secret for secret in found if len(secret) >= LEAST_SECRET)


def without(body: bytes, secrets: Iterable[str]) -> bytes:
    """What somebody said, with `[key]` in place of each secret."""
    for secret in secrets:
        body = body.replace(secret.encode(), b"[key]")
    return body


def _resolve_at(path: str, reference: str, environ: Mapping[str, str]) -> str:
    try:
        return resolve(reference, environ)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _from_environment(names: str, environ: Mapping[str, str]) -> str:
    """The first of the variables `A|B|…` that holds something."""
    variables = names.split("|")
    value = next((environ[name] for name in variables if environ.get(name)), "")
    if value:
        return value
    if len(variables) > 1:
        raise ConfigError(
            f"none of the environment variables {', '.join(variables)} is set. Set one where Latimer is started"
        )
    state = "empty" if names in environ else "not set"
    raise ConfigError(f"the environment variable {names} is {state}. Set it where Latimer is started")


def _from_keyring(name: str) -> str:
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        raise ConfigError(f"keyring:{name} needs the keyring extra: pip install 'latimer[keyring]'") from None
    try:
        value = keyring.get_password(KEYRING_SERVICE, name)
    except Exception as error:  # each backend raises its own
        raise ConfigError(f"keyring:{name} could not be read: {type(error).__name__}") from None
    if not value:
        raise ConfigError(f"keyring:{name} is not stored; store it with: keyring set {KEYRING_SERVICE} {name}")
    return str(value)


def _from_file(name: str) -> str:
    path = Path(name).expanduser()
    if not path.is_absolute():
        raise ConfigError(f"file:{name} should be an absolute path, or one that begins with ~")
    try:
        value = path.read_text("utf-8")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"file:{name} could not be read: {why}") from None
    if sys.platform != "win32" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning("file:%s can be read by other users; run: chmod 600 %s", name, shlex.quote(str(path)))
    return value


def _from_command(text: str) -> str:
    """Not run by a shell; what the program says on its standard error is the user's to see."""
    try:
        words = shlex.split(text)
        shown = label(f"command:{text}")
        done = subprocess.run(words, stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=False)  # noqa: S603
    except ValueError:
        raise ConfigError("command: the quotes of the command do not match") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{shown} did not end within {COMMAND_SECONDS:g} seconds") from None
    except OSError as error:
        raise ConfigError(f"{shown} could not be run: {error.strerror}") from None
    if done.returncode != 0:
        raise ConfigError(f"{shown} failed with exit code {done.returncode}")
    return done.stdout.decode("utf-8", "replace")


_READERS: dict[str, Callable[[str], str]] = {
    "keyring": _from_keyring,
    "file": _from_file,
    "command": _from_command,
}
