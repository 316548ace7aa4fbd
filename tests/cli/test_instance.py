"""start, stop, status and logs: a real process in the background, and what is left of it when it ends."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from latimer.shell.instance import Identity, InstanceFiles, new_record
from latimer.shell.notify import READY
from tests.test_cli import environment, latimer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and locks of POSIX")

FILE = """
[server]
port = 0
{server}
[providers.local]
base_url = "http://127.0.0.1:9/v1"
{provider}
[routes]
default = "local/{model}"
"""
STARTED = re.compile(r"latimer: started at (http://127\.0\.0\.1:\d+) \(process (\d+)\); its log is (\S+)\n")


def written(home: Path, model: str = "m", server: str = "", provider: str = "") -> str:
    (home / "c.toml").write_text(FILE.format(model=model, server=server, provider=provider))
    return "c.toml"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home in which nothing runs any more afterwards."""
    yield tmp_path
    done = latimer(tmp_path, "stop")
    assert done.returncode == 0, done.stderr
    assert not InstanceFiles(tmp_path / "state").held()


def state(home: Path) -> InstanceFiles:
    return InstanceFiles(home / "state")


def status_of(home: Path, *arguments: str) -> Any:
    done = latimer(home, "status", "--json", *arguments)
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["running"] else 1)
    return told


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def health(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
        return json.load(answer)


# --- as it should be ---


def test_from_start_to_stop(home: Path) -> None:
    done = latimer(home, "start", "--config", written(home), "--log-level", "debug")
    assert (done.returncode, done.stderr) == (0, "")
    found = STARTED.fullmatch(done.stdout)
    assert found is not None, done.stdout
    url, pid, log = found[1], int(found[2]), Path(found[3])
    assert health(url)["service"] == "latimer"
    assert os.getsid(pid) == pid  # a session of its own: no terminal's end reaches it

    told = status_of(home)
    assert (told["running"], told["background"], told["url"], told["pid"]) == (True, True, url, pid)
    assert told["config"]["number"] == 1
    shown = latimer(home, "status")
    assert shown.returncode == 0
    assert f"is running at {url} (process {pid}, for " in shown.stdout
    assert f"configuration: {home / 'c.toml'}\n" in shown.stdout
    assert "default  local/m at http://127.0.0.1:9/v1\n" in shown.stdout

    assert log == home / "state" / "latimer.log"
    assert "prompts go to local/m" in latimer(home, "logs").stdout
    assert latimer(home, "logs", "--lines", "0").stdout == ""
    for name in ("instance.json", "instance.lock", "latimer.log"):
        assert stat.S_IMODE((home / "state" / name).stat().st_mode) == 0o600, name

    again = latimer(home, "start", "--config", "c.toml")
    assert again.returncode == 1
    assert f"it runs already at {url} (process {pid}). Stop it with `latimer stop`" in again.stderr

    done = latimer(home, "stop")
    assert (done.returncode, done.stdout) == (0, f"latimer: stopped (process {pid})\n")
    assert state(home).read() is None
    with pytest.raises(OSError, match="refused"):
        health(url)
    done = latimer(home, "status")
    assert (done.returncode, done.stdout) == (1, "latimer: not running\n")
    done = latimer(home, "stop")
    assert (done.returncode, done.stdout) == (0, "latimer: not running\n")
    assert "prompts go to local/m" in latimer(home, "logs").stdout  # of the last one


def test_with_workers_and_a_token(home: Path) -> None:
    token = "the-servers-own-token"
    options = ["--config", written(home), "--workers", "2", "--token-env", "MY_TOKEN", "--json"]
    done = latimer(home, "start", *options, MY_TOKEN=token)
    started = json.loads(done.stdout)
    told = status_of(home)
    assert (told["workers"], told["pid"]) == (2, started["pid"])
    request = urllib.request.Request(f"{started['url']}/status")
    with pytest.raises(OSError, match="401"):
        urllib.request.urlopen(request, timeout=10)
    for path in (home / "state").iterdir():
        assert token.encode() not in path.read_bytes()
    assert token not in json.dumps(told)
    assert latimer(home, "stop", "--json").stdout.startswith('{\n  "stopped": true')


def test_it_reads_its_file_again(home: Path) -> None:
    pid = json.loads(latimer(home, "start", "--config", written(home), "--json").stdout)["pid"]
    written(home, "other", server="shutdown_seconds = 1.5")
    until(lambda: status_of(home)["routes"] == {"default": ["local/other"]})
    written(home, "x", provider="nonsense = 1")
    os.kill(pid, signal.SIGHUP)
    until(lambda: status_of(home)["config"]["error"] != "")
    shown = latimer(home, "status").stdout
    assert "its newest version is not in use: c.toml: " in shown
    assert "nonsense" in shown
    assert "local/other" in shown


def test_flags_still_count_after_the_file_has_changed(home: Path) -> None:
    port = free_port()
    latimer(home, "start", "--config", written(home), "--port", str(port), "--model", "local/flagged")
    written(home, "other", server="ping_seconds = 2.0")
    until(lambda: status_of(home)["config"]["number"] == 2)
    told = status_of(home)
    assert told["routes"] == {"default": ["local/flagged"]}
    assert told["config"]["restart"] == []
    assert told["url"] == f"http://127.0.0.1:{port}"


def test_it_tells_of_one_in_the_foreground_too(home: Path) -> None:
    command = [sys.executable, "-m", "latimer", "serve", "--config", written(home)]
    with subprocess.Popen(
        command, cwd=home, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("latimer: listening on ")
        told = status_of(home)
        assert (told["background"], told["pid"], told["log"]) == (False, process.pid, "")
        assert "writes its log to its terminal" in latimer(home, "logs").stderr
        assert latimer(home, "stop").returncode == 0
        assert process.wait(20) == 0


def test_the_log_is_followed(home: Path) -> None:
    latimer(home, "start", "--config", written(home))
    command = [sys.executable, "-m", "latimer", "logs", "--follow", "--lines", "0"]
    with subprocess.Popen(
        command, cwd=home, env=environment(home), stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        time.sleep(1)  # until it has begun; what is written before is not its business
        log = home / "state" / "latimer.log"
        with log.open("a") as file:
            file.write("one\n")
        assert process.stdout.readline() == "one\n"
        log.rename(log.with_name("latimer.log.1"))
        log.write_text("two\n")
        assert process.stdout.readline() == "two\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


# --- starts that fail ---


def test_a_start_that_fails_says_why(home: Path) -> None:
    done = latimer(home, "start", "--config", written(home, provider='api_key = "env:NOT_SET_ANYWHERE"'))
    assert done.returncode == 2
    why = "the environment variable NOT_SET_ANYWHERE is not set. Set it where Latimer is started"
    assert done.stderr == f"latimer: providers.local.api_key: {why}\n"
    assert done.stdout == ""
    done = latimer(home, "start", "--config", "none.toml")
    assert done.returncode == 2
    assert "none.toml: there is no such file" in done.stderr
    assert status_of(home) == {"running": False, "why": ""}


def test_a_port_that_another_program_has(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = latimer(home, "start", "--config", written(home), "--port", str(port))
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use by another program (`lsof -i :{port}` names it); choose" in done.stderr


@pytest.mark.parametrize("same", [True, False], ids=["of this folder", "of another"])
def test_a_port_that_another_latimer_has(home: Path, same: bool) -> None:
    port = free_port()
    flags = ["--config", written(home), "--port", str(port)]
    latimer(home, "start", *flags)
    folder = [] if same else ["--state-dir", "elsewhere"]
    done = latimer(home, "serve", *flags, *folder)
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use by another Latimer (" in done.stderr
    assert ("stop it with `latimer stop`" if same else "stop it where it was started") in done.stderr


def test_a_folder_that_cannot_be_used(home: Path) -> None:
    (home / "file").touch()
    done = latimer(home, "start", "--config", written(home), "--state-dir", "file")
    assert done.returncode == 1
    assert "could not be opened" in done.stderr


# --- two of them ---


def test_two_with_folders_of_their_own(home: Path) -> None:
    config = written(home)
    first = json.loads(latimer(home, "start", "--config", config, "--json").stdout)
    second = json.loads(latimer(home, "start", "--config", config, "--json", "--state-dir", "other").stdout)
    assert first["url"] != second["url"]
    assert status_of(home)["pid"] == first["pid"]
    assert status_of(home, "--state-dir", "other")["pid"] == second["pid"]
    assert latimer(home, "stop", "--state-dir", "other").returncode == 0
    assert status_of(home)["running"]


def test_two_that_share_a_folder(home: Path) -> None:
    """Both serve; the folder tells of the first. What they learn they share anyway."""
    first = json.loads(latimer(home, "start", "--config", written(home), "--json").stdout)
    command = [sys.executable, "-m", "latimer", "serve", "--config", "c.toml"]
    with subprocess.Popen(
        command, cwd=home, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().split()[-1]
        assert health(url)["instance"] != health(first["url"])["instance"]
        assert status_of(home)["pid"] == first["pid"]
        process.terminate()
        assert process.wait(20) == 0
        assert "`latimer status` tells of another Latimer" in process.stderr.read()
    assert status_of(home)["pid"] == first["pid"]


# --- what a crash leaves ---


def test_after_a_crash(home: Path) -> None:
    pid = json.loads(latimer(home, "start", "--config", written(home), "--json").stdout)["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not state(home).held())
    assert state(home).read() is not None
    told = status_of(home)
    # Where nobody reaps it, its number is still taken.
    ended = rf"process {pid} (has ended|is not that Latimer any more), and nothing answers at http://127\.0\.0\.1:"
    assert re.match(ended, told["why"])
    assert state(home).read() is None
    done = latimer(home, "start", "--config", "c.toml")
    assert done.returncode == 0


def test_nothing_else_is_ever_stopped(home: Path) -> None:
    """The record's number has been given to another program, which must not get a signal."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        identity = replace(Identity.new(), pid=innocent.pid)
        (home / "state").mkdir()
        state(home).write(new_record(identity, f"http://127.0.0.1:{free_port()}", "c.toml", None, background=True))
        done = latimer(home, "stop")
        assert done.returncode == 0
        assert f"not running: process {innocent.pid} is not that Latimer any more, and nothing answers" in done.stdout
        assert innocent.poll() is None
        assert innocent.stdin is not None
        innocent.stdin.write(b"\n")
        innocent.stdin.flush()
        assert innocent.wait(20) == 0


def test_one_that_does_not_answer_is_left_alone(home: Path) -> None:
    """It has the lock, so it is alive; whether it hangs or stops cannot be known."""
    pid = json.loads(latimer(home, "start", "--config", written(home), "--json").stdout)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        done = latimer(home, "stop")
        assert done.returncode == 1
        assert f"process {pid} is stopping, or hangs: nothing answers at" in done.stderr
        assert latimer(home, "start", "--config", "c.toml").returncode == 1
    finally:
        os.kill(pid, signal.SIGCONT)
    assert status_of(home)["running"]


# --- service managers ---


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_manager_is_told(home: Path, workers: int) -> None:
    """systemd's protocol, by a socket of our own."""
    path = home / "n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(os.path.relpath(path))
        manager.settimeout(20)
        command = [sys.executable, "-m", "latimer", "serve", "--config", written(home), "--workers", str(workers)]
        with subprocess.Popen(
            command,
            cwd=home,
            env=environment(home, NOTIFY_SOCKET=os.path.relpath(path, home)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert manager.recv(100).decode() == READY
            process.send_signal(signal.SIGHUP)
            assert manager.recv(100).decode().startswith("RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(100).decode() == READY
            process.terminate()
            assert manager.recv(100).decode() == "STOPPING=1"
            assert process.wait(20) == 0
