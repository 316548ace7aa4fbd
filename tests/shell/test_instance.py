"""Which Latimer runs: told by a lock and a proof, never by a number of a process alone."""

import asyncio
import errno
import http.server
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from latimer.shell import files as files_module
from latimer.shell import instance as instance_module
from latimer.shell.instance import (
    CHALLENGE,
    PROOF,
    Identity,
    InstanceFiles,
    Record,
    ask,
    claimed,
    find,
    new_record,
    who_listens,
)
from latimer.shell.service import running
from tests.shell.harness import KEY_VARIABLE, config_for

UNREACHED = "http://127.0.0.1:9"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")


@asynccontextmanager
async def server(identity: Identity, **options: Any) -> AsyncIterator[str]:
    async with running(config_for(f"{UNREACHED}/v1", **options), identity=identity) as url:
        yield url


@contextmanager
def impostor(record: Record) -> Iterator[Record]:
    """Another program at a port, which says all that a Latimer says to anybody, and repeats what it was sent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"service": "latimer", "instance": record.identity.id, "version": "0"}).encode()
            self.send_response(200)
            self.send_header(PROOF, self.headers.get(PROOF, "") or "x")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield replace(record, url=f"http://127.0.0.1:{listening.server_port}")
        finally:
            listening.shutdown()
            thread.join()


def record_of(identity: Identity, url: str = UNREACHED) -> Record:
    return new_record(identity, url, "c.toml", None, background=False)


# --- who answers ---


@pytest.mark.parametrize("options", [{}, {"token": f"env:{KEY_VARIABLE}"}], ids=["open", "with a token"])
async def test_a_server_proves_who_it_is(options: dict[str, str]) -> None:
    identity = Identity.new()
    async with server(identity, **options) as url:
        status, why = await asyncio.to_thread(ask, record_of(identity, url))
        assert why == ""
        assert status is not None
        assert json.loads(bytes(status))["instance"] == identity.id
        assert identity.secret.encode() not in bytes(status)
        other = await asyncio.to_thread(ask, record_of(replace(identity, secret="another"), url))
        assert other == (None, f"another program answers at {url}")


async def test_the_secret_opens_the_status_and_nothing_else() -> None:
    identity = Identity.new()
    async with server(identity, token=f"env:{KEY_VARIABLE}") as url:
        proof = instance_module._mark(identity.secret, b"ask", b"c").decode()
        told = await asyncio.to_thread(_get, url, "/status", {CHALLENGE: "c", PROOF: proof})
        assert told == 200
        for path, headers in [
            ("/status", {}),
            ("/status", {CHALLENGE: "c", PROOF: "wrong"}),
            ("/status", {CHALLENGE: "d", PROOF: proof}),
            ("/status", {CHALLENGE: "", PROOF: proof}),
            ("/status", {CHALLENGE: "c", PROOF: "\udce4"}),
            ("/v1/models", {CHALLENGE: "c", PROOF: proof}),
            ("/metrics", {CHALLENGE: "c", PROOF: proof}),
        ]:
            assert await asyncio.to_thread(_get, url, path, headers) == 401, (path, headers)


def _get(url: str, path: str, headers: dict[str, str]) -> int:
    raw = {name: value.encode("utf-8", "surrogateescape").decode("latin-1") for name, value in headers.items()}
    found = instance_module._get(url, path, raw, 5.0)
    assert found is not None
    return found[0]


async def test_without_a_secret_there_is_no_proof() -> None:
    """Else whoever has the port later could have collected some."""
    async with server(Identity.new()) as url:
        found = await asyncio.to_thread(instance_module._get, url, "/status", {CHALLENGE: "c"}, 5.0)
        assert found is not None
        assert found[0] == 200
        assert PROOF not in found[1]


def test_another_program_at_the_port() -> None:
    with impostor(record_of(Identity.new())) as record:
        assert ask(record) == (None, f"another program answers at {record.url}")


async def test_who_has_a_port() -> None:
    identity = Identity.new()
    async with server(identity) as url:
        port = int(url.rsplit(":", 1)[1])
        for host in ("127.0.0.1", "0.0.0.0", "", "localhost"):
            found = await asyncio.to_thread(who_listens, host, port)
            assert found is not None
            assert found.instance == identity.id
    assert await asyncio.to_thread(who_listens, "127.0.0.1", port) is None


def test_addresses_that_can_be_asked() -> None:
    identity = Identity.new()
    told = [record_of(identity, f"http://{host}:4002").url for host in ("0.0.0.0", "[::]", "127.0.0.1", "[::1]")]
    assert told == [f"http://{host}:4002" for host in ("127.0.0.1", "[::1]", "127.0.0.1", "[::1]")]


# --- the files ---


def test_the_record_is_the_users_own(tmp_path: Path) -> None:
    with claimed(tmp_path / "state") as files:
        assert files is not None
        record = record_of(Identity.new())
        files.write(record)
        assert files.read() == record
        assert stat.S_IMODE(files.path.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "state" / instance_module.LOCK).stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert files.read() is None


@POSIX
def test_one_of_two_is_told_of(tmp_path: Path) -> None:
    with claimed(tmp_path) as first, claimed(tmp_path) as second:
        assert first is not None
        assert second is None
        assert first.held()
    assert not first.held()
    with claimed(tmp_path) as third:
        assert third is not None


@POSIX
def test_asking_does_not_keep_anybody_from_starting(tmp_path: Path) -> None:
    files, going = InstanceFiles(tmp_path), threading.Event()

    def look() -> None:
        while not going.is_set():
            files.held()

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            with claimed(tmp_path) as mine:
                assert mine is not None
    finally:
        going.set()
        for thread in threads:
            thread.join()


def test_a_file_in_place_of_the_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state").touch()
    with claimed(tmp_path / "state") as files:
        assert files is None
    assert "`latimer status` will not know of this one" in caplog.text


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"identity":3}', b"\xff"])
def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / instance_module.FILE).write_bytes(text)
    assert find(tmp_path).record is None


@POSIX
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / instance_module.LOCK).touch()
    monkeypatch.setattr(files_module.fcntl, "flock", refuse)
    with claimed(tmp_path) as files:
        assert files is None
    assert find(tmp_path) == instance_module.Found()


# --- what became of it ---


async def test_one_that_runs(tmp_path: Path) -> None:
    identity = Identity.new()
    with claimed(tmp_path) as files:
        assert files is not None
        async with server(identity) as url:
            files.write(record_of(identity, url))
            found = await asyncio.to_thread(find, tmp_path)
            assert (found.alive, found.why) == (True, "")
            assert found.status is not None


def test_none_has_run(tmp_path: Path) -> None:
    assert find(tmp_path) == instance_module.Found()
    assert find(tmp_path / "none") == instance_module.Found()


@POSIX
def test_one_that_starts(tmp_path: Path) -> None:
    with claimed(tmp_path):
        assert find(tmp_path) == instance_module.Found(alive=True, why="a Latimer is starting")


@POSIX
def test_one_that_hangs_or_stops(tmp_path: Path) -> None:
    with claimed(tmp_path) as files:
        assert files is not None
        files.write(record_of(Identity.new()))
        found = find(tmp_path)
        assert (found.alive, found.status) == (True, None)
        assert found.why == f"process {os.getpid()} is stopping, or hangs: nothing answers at {UNREACHED}"
        assert files.read() is not None


def ended() -> int:
    """The number of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@POSIX
@pytest.mark.parametrize("reused", [False, True], ids=["gone", "its number has another"])
def test_a_stale_record_is_recognised_and_removed(tmp_path: Path, reused: bool) -> None:
    """After a crash or a restart of the machine. The other process here is this one."""
    identity = replace(Identity.new(), pid=os.getpid() if reused else ended())
    files = InstanceFiles(tmp_path)
    files.write(record_of(identity))
    found = find(tmp_path)
    assert (found.alive, found.status) == (False, None)
    what = "is not that Latimer any more" if reused else "has ended"
    assert found.why == f"process {identity.pid} {what}, and nothing answers at {UNREACHED}"
    assert files.read() is None


@POSIX
def test_a_stale_record_whose_port_has_another_program(tmp_path: Path) -> None:
    with impostor(record_of(replace(Identity.new(), pid=ended()))) as record:
        InstanceFiles(tmp_path).write(record)
        assert find(tmp_path).why.endswith(f"has ended, and another program answers at {record.url}")
