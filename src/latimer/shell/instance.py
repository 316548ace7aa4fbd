"""The Latimer of a state directory: which process it is, and whether it still runs.

`latimer serve` keeps a lock on `instance.lock` for as long as it lives, which the system gives back however it ends,
and writes `instance.json` when it is ready. A number of a process says nothing: after a crash another program may have
it, or the port. So whoever asks lets the server prove that it knows the secret in the record; the secret itself never
travels.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import DecodeError, Raw, Struct, ValidationError, json

from latimer import __version__
from latimer.shell.files import PRIVATE, PRIVATE_FOLDER, lock, replace_file

log = logging.getLogger(__name__)

FILE = "instance.json"
LOCK = "instance.lock"
LOG = "latimer.log"
ASK_SECONDS = 3.0
"""How long the Latimer of a record may take to tell of itself."""
GREETING_SECONDS = 1.0
"""How long an unknown program on a port may take to say what it is."""
LOOKING_SECONDS = 0.05
"""Who only asks whether the lock is held has it for less than this."""
MOST_BYTES = 1024 * 1024
CHALLENGE = "latimer-challenge"
PROOF = "latimer-proof"
SERVICE = "latimer"
"""What `/health` says is there."""
_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


class Identity(Struct, frozen=True):
    """Which server this is. The id is no secret; the secret is known to those who may read the user's files."""

    id: str
    secret: str
    pid: int
    started: float
    """Seconds since 1970."""

    @classmethod
    def new(cls) -> Identity:
        """Of this process."""
        return cls(secrets.token_hex(8), secrets.token_urlsafe(32), os.getpid(), time.time())

    def allows(self, challenge: str, proof: str) -> bool:
        """Whether whoever asks with this challenge knows the secret."""
        asked = _mark(self.secret, b"ask", challenge.encode("utf-8", "surrogateescape"))
        return hmac.compare_digest(asked, proof.encode("utf-8", "surrogateescape"))

    def proof(self, challenge: str, body: bytes) -> str:
        """That the answer `body` to this challenge is of this server."""
        return _mark(self.secret, b"answer", challenge.encode("utf-8", "surrogateescape"), body).decode()


class Record(Struct, frozen=True):
    """What `instance.json` tells of the Latimer that runs."""

    identity: Identity
    url: str
    config: str
    version: str
    log: str = ""
    """Its log's file; '' when that goes to a terminal or a service manager."""
    background: bool = False
    """Whether `latimer start` has started it."""


class Greeting(Struct, frozen=True):
    """What `/health` says. The id is that of the `Identity`."""

    status: str = ""
    service: str = ""
    version: str = ""
    instance: str = ""


class Found(Struct, frozen=True):
    """What became of the Latimer of a state directory."""

    record: Record | None = None
    status: Raw | None = None
    """Its own words, when it runs and has proved who it is."""
    alive: bool = False
    """Whether a process has the lock."""
    why: str = ""
    """What is there instead, in words; '' when it runs, and where there is no record."""


class InstanceFiles:
    """The files of a state directory that tell of its Latimer."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.path = state / FILE
        self._lock: int | None = None

    def claim(self) -> bool:
        """Take the lock until this process and those it forks have ended; False: another has it. Raises OSError."""
        self.state.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        number = os.open(self.state / LOCK, os.O_CREAT | os.O_RDWR, PRIVATE)
        try:
            mine = lock(number, LOOKING_SECONDS)
        except OSError:
            os.close(number)
            raise
        if mine:
            self._lock = number
        else:
            os.close(number)
        return mine

    def write(self, record: Record) -> None:
        """Tell of the Latimer that has the lock. Raises OSError."""
        replace_file(self.path, json.encode(record))

    def read(self) -> Record | None:
        """What is told; None where that is nothing."""
        try:
            return json.decode(self.path.read_bytes(), type=Record)
        except (OSError, DecodeError, ValidationError):
            return None

    def clear(self) -> None:
        """Nothing is told any more."""
        self.path.unlink(missing_ok=True)

    def leave(self) -> None:
        """Give the lock back, and what was told of this process."""
        if self._lock is None:
            return
        self.clear()
        os.close(self._lock)
        self._lock = None

    def held(self) -> bool:
        """Whether a process has the lock. Where there are no locks, the answer is always no."""
        try:
            number = os.open(self.state / LOCK, os.O_RDWR)
        except OSError:
            return False
        try:
            return not lock(number)
        except OSError:  # a file system that has no locks
            return False
        finally:
            os.close(number)


@contextmanager
def claimed(state: Path) -> Iterator[InstanceFiles | None]:
    """The files for this process to tell of itself in; None: another Latimer has them, or they cannot be written."""
    files = InstanceFiles(state)
    try:
        mine = files.claim()
    except OSError as error:
        log.warning("`latimer status` will not know of this one: %s: %s", state, error.strerror)
        mine = False
    try:
        yield files if mine else None
    finally:
        files.leave()


def find(state: Path) -> Found:
    """What became of the Latimer of this directory. A record of one that has ended is removed."""
    files = InstanceFiles(state)
    record, alive = files.read(), files.held()
    if record is None:
        return Found(alive=alive, why="a Latimer is starting" if alive else "")
    status, why = ask(record)
    if status is not None:
        return Found(record, status, alive=True)
    if alive:
        return Found(record, alive=True, why=f"process {record.identity.pid} is stopping, or hangs: {why}")
    files.clear()
    ended = "has ended" if not _exists(record.identity.pid) else "is not that Latimer any more"
    return Found(record, why=f"process {record.identity.pid} {ended}, and {why}")


def ask(record: Record) -> tuple[Raw | None, str]:
    """The status of the server of a record, if it is there and proves that it is that one; else why not."""
    challenge = secrets.token_urlsafe(18)
    asked = _mark(record.identity.secret, b"ask", challenge.encode()).decode()
    answer = _get(record.url, "/status", {CHALLENGE: challenge, PROOF: asked}, ASK_SECONDS)
    if answer is None:
        return None, f"nothing answers at {record.url}"
    _, headers, body = answer
    expected = record.identity.proof(challenge, body)
    if not hmac.compare_digest(headers.get(PROOF, "").encode(), expected.encode()):
        return None, f"another program answers at {record.url}"
    return Raw(body), ""


def who_listens(host: str, port: int) -> Greeting | None:
    """What answers there and says that it is a Latimer; None where that is something else."""
    answer = _get(f"http://{host_in_url(reachable(host))}:{port}", "/health", {}, GREETING_SECONDS)
    if answer is None or answer[0] != 200:
        return None
    try:
        greeting = json.decode(answer[2], type=Greeting)
    except (DecodeError, ValidationError):
        return None
    return greeting if greeting.service == SERVICE else None


def reachable(host: str) -> str:
    """An address at which this machine reaches what listens on `host`, such as all addresses."""
    return _HOSTS.get(host, host)


def host_in_url(host: str) -> str:
    """With the brackets that an IPv6 address needs."""
    return f"[{host}]" if ":" in host else host


def new_record(identity: Identity, url: str, config: str, log_file: Path | None, background: bool) -> Record:
    """The record of this process, which listens at `url`."""
    parts = urlsplit(url)
    url = f"http://{host_in_url(reachable(parts.hostname or ''))}:{parts.port}"
    return Record(identity, url, config, __version__, str(log_file or ""), background)


def _get(url: str, path: str, headers: Mapping[str, str], seconds: float) -> tuple[int, dict[str, str], bytes] | None:
    """Status, headers and body of an answer, straight from this machine; None when there is none."""
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415  # only commands ask

    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        connection.request("GET", path, headers={"connection": "close", **headers})
        response = connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        return response.status, told, response.read(MOST_BYTES)
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def _mark(secret: str, *parts: bytes) -> bytes:
    mark = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    for part in parts:
        mark.update(len(part).to_bytes(4, "big") + part)
    return mark.hexdigest().encode()


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        return False  # os.kill would end it
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
    return True
