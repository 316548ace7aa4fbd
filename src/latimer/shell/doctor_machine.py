"""What `latimer doctor` reads of this machine: keys, files, the port, programs, packages. It changes nothing."""

from __future__ import annotations

import errno
import locale
import os
import re
import shutil
import socket
import ssl
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from msgspec import json
from msgspec.structs import replace

from latimer.errors import ConfigError
from latimer.policy.claude_code import PROXY_VARIABLES
from latimer.policy.config import Config, Provider, Server
from latimer.policy.diagnosis.configuration import smells
from latimer.policy.diagnosis.facts import (
    FileFacts,
    KeyFacts,
    Leak,
    ListenerFacts,
    MachineFacts,
    ProxyFacts,
    RecordFacts,
    ServerFacts,
    StateFacts,
    TrustFacts,
)
from latimer.policy.keys import label
from latimer.policy.knowledge import Knowledge, decode
from latimer.shell.http.proxies import kind_of, proxy_for, shown
from latimer.shell.instance import InstanceFiles, Record, ask, reachable, who_listens
from latimer.shell.secrets import resolve
from latimer.shell.state import FILE
from latimer.shell.status import Status

LISTEN_SECONDS = 3.0
"""How long connecting to the port may take."""
LEAST_SECRET = 12
"""Characters. A shorter one is found by chance."""
MOST_SEARCHED = 64 * 1024 * 1024
"""Bytes of each file that are searched for keys, from its end: what was written last is what matters."""

_EXTRAS = {"search": "ddgs", "fetch": "trafilatura", "socks": "python_socks"}
"""Extras and a package of each."""


# --- keys ---


def each_key(config: Config) -> Iterator[tuple[str, Provider]]:
    """Every provider with each of its keys alone, by the path of that key."""
    for provider in config.providers.values():
        for number, alone in enumerate(provider.by_key()):
            yield f"providers.{provider.name}.api_key{f'[{number}]' if provider.more_keys else ''}", alone


def references(config: Config) -> Iterator[tuple[str, str]]:
    """Every reference to a secret in a configuration, by the path of its key."""
    for path, alone in each_key(config):
        if alone.api_key:
            yield path, alone.api_key
    for provider in config.providers.values():
        for name, value in provider.headers.items():
            if re.match(r"(env|keyring|file|command):", value):
                yield f"providers.{provider.name}.headers.{name}", value
    for path, reference in (("server.token", config.server.token), ("web_search.api_key", config.web_search.api_key)):
        if reference:
            yield path, reference


def read_keys(config: Config, environ: Mapping[str, str]) -> tuple[tuple[KeyFacts, ...], dict[str, str]]:
    """What came of resolving each reference; and the secrets by the path of their key, to search files for."""
    facts, secrets = [], {}
    for path, reference in references(config):
        try:
            secrets[path] = resolve(reference, environ)
        except ConfigError as error:
            facts.append(_unresolved(path, reference, str(error), environ))
        else:
            facts.append(KeyFacts(path, label(reference), smells=smells(secrets[path])))
    return tuple(facts), secrets


def _unresolved(path: str, reference: str, problem: str, environ: Mapping[str, str]) -> KeyFacts:
    kind, _, rest = reference.partition(":")
    names = rest.split("|") if kind == "env" else []
    unset = names[0] if names and not any(environ.get(name) for name in names) else ""
    return KeyFacts(path, label(reference), problem, unset, any(name in environ for name in names))


# --- files ---


def read_files(config_path: str, config: Config | None, state: Path, log: str) -> tuple[FileFacts, ...]:
    """The modes of what Latimer keeps and reads; of what is not there, nothing."""
    own = [Path(config_path), Path(log) if log else None, state, *_inside(state)]
    found = [_file(path) for path in dict.fromkeys(filter(None, own))]
    for path, reference in references(config) if config else ():
        if reference.startswith("file:"):
            found.append(_file(Path(reference.removeprefix("file:")).expanduser(), path))
    return tuple(filter(None, found))


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return []


def _file(path: Path, key_of: str = "") -> FileFacts | None:
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    return FileFacts(str(path), -1 if sys.platform == "win32" else stat.S_IMODE(mode), stat.S_ISDIR(mode), key_of)


def find_leaks(secrets: Mapping[str, str], state: Path, log: str) -> tuple[Leak, ...]:
    """Files of Latimer's in which a key stands."""
    sought = {path: value.encode() for path, value in secrets.items() if len(value) >= LEAST_SECRET}
    files = [*_inside(state), *([Path(log)] if log else [])] if sought else []
    return tuple(
        Leak(str(file), path)
        for file in dict.fromkeys(files)
        for text in [_end_of(file)]
        for path, value in sought.items()
        if value in text
    )


def _end_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MOST_SEARCHED))
            return file.read(MOST_SEARCHED)
    except OSError:
        return b""


def read_learned(folder: Path, now: float) -> tuple[Knowledge, StateFacts]:
    """What was learned, and the state folder. Unlike a server, this sets no file aside."""
    state, path = read_state(folder), folder / FILE
    try:
        return decode(path.read_bytes()).alive(now), state
    except FileNotFoundError:
        return Knowledge(), state
    except (OSError, ValueError) as error:
        told = (error.strerror if isinstance(error, OSError) else "") or str(error)
        return Knowledge(), state if state.problem else replace(state, learned=str(path), learned_problem=told)


def read_state(folder: Path) -> StateFacts:
    """Whether something can be kept in the folder, or in the one that it would be made in."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return StateFacts(str(folder), f"{there} is not a folder", str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        return StateFacts(str(folder), f"{there} may not be written to", str(there))
    return StateFacts(str(folder))


# --- network ---


def read_proxies(environ: Mapping[str, str]) -> tuple[ProxyFacts, ...]:
    """The proxy variables that are set."""
    return tuple(_proxy(name, environ[name].strip()) for name in PROXY_VARIABLES if environ.get(name, "").strip())


def _proxy(name: str, value: str) -> ProxyFacts:
    without_password = re.sub(r"^([^:/@]*://)?[^@]*@", r"\1", value)
    try:
        proxy = proxy_for("https://provider.invalid", value)
        if re.search(r"\s", proxy):
            raise ConfigError("there are spaces in it")
    except ConfigError as error:
        return ProxyFacts(name, without_password, str(error))
    return ProxyFacts(name, shown(proxy), socks=kind_of(proxy) == "socks")


def read_trust(environ: Mapping[str, str]) -> TrustFacts:
    """SSL_CERT_FILE, and what Node programs such as Claude Code are told to trust."""
    named, node = environ.get("SSL_CERT_FILE", ""), environ.get("NODE_EXTRA_CA_CERTS", "")
    problem = ""
    try:
        if named:
            ssl.create_default_context(cafile=named)
    except ssl.SSLError:
        problem = "it holds no certificate in PEM form"
    except OSError as error:
        problem = error.strerror or str(error)
    return TrustFacts(named, problem, node if Path(node).is_file() else "")


def read_server(server: Server, state: Path) -> ServerFacts:
    """What listens on the port, a port that is free, and what a background Latimer wrote down of itself."""
    problem = _unusable(server) if server.port else ""
    listener = ListenerFacts() if problem or not server.port else listening(server.host, server.port)
    spare = 0 if listener.free and not problem else _spare_port()
    files = InstanceFiles(state)
    record = files.read()
    records = (_asked(files, record),) if record else ()
    return ServerFacts(listener, problem, spare, records)


def _asked(files: InstanceFiles, record: Record) -> RecordFacts:
    """What the Latimer of a record says of itself, once it has proved that it is that one."""
    raw, _ = ask(record)
    if raw is None:
        return RecordFacts(str(files.path), record.url, files.held())
    reading = json.decode(raw, type=Status).config
    return RecordFacts(str(files.path), record.url, True, reading.error, tuple(reading.restart))


def _unusable(server: Server) -> Literal["", "address", "rights"]:
    """Why the port could not be opened even if nobody had it. Nothing listens: the socket is bound for a moment."""
    host = server.host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, server.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.bind(address)
    except UnicodeError:
        return "address"
    except OSError as error:
        if error.errno == errno.EACCES:
            return "rights"
        return "address" if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror) else ""
    return ""


def listening(host: str, port: int) -> ListenerFacts:
    """What listens at an address."""
    try:
        socket.create_connection((reachable(host).strip("[]"), port), LISTEN_SECONDS).close()
    except OSError:  # refused, or nothing answers there
        return ListenerFacts()
    latimer = who_listens(host.strip("[]"), port)
    return ListenerFacts(False, latimer.version, latimer.instance) if latimer else ListenerFacts(False)


def _spare_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


# --- programs, packages, limits ---


def read_machine(environ: Mapping[str, str]) -> MachineFacts:
    """The rest."""
    latimers = programs("latimer", environ)
    return MachineFacts(
        windows=sys.platform == "win32",
        encoding=os.device_encoding(1) or locale.getencoding(),
        file_limit=_file_limit(),
        program=latimers[0] if latimers else sys.argv[0],
        latimers=tuple(latimers[1:]),
        missing=frozenset(extra for extra, package in _EXTRAS.items() if find_spec(package) is None),
    )


def programs(name: str, environ: Mapping[str, str]) -> Sequence[str]:
    """The programs of a name on PATH, the first first; links to one and the same count once."""
    found: dict[Path, str] = {}
    for folder in environ.get("PATH", "").split(os.pathsep):
        path = shutil.which(name, path=folder) if folder else None
        if path:
            found.setdefault(Path(path).resolve(), path)
    return list(found.values())


def _file_limit() -> int:
    try:
        import resource  # noqa: PLC0415  # not on Windows, which has no such limit
    except ImportError:
        return 0
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 0 if hard == resource.RLIM_INFINITY else hard
