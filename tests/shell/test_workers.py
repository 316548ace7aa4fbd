"""Several real processes behind one port: they share the load, outlive each other's deaths, and end together."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from latimer.cli import app
from latimer.errors import ConfigError
from latimer.shell.workers import bind, wait_after
from tests.latimer_process import Latimer
from tests.shell.harness import Answer, Exchange, Gateway, Response, Say, Upstream, upstream

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")

UNREACHED = "http://127.0.0.1:9/v1"
WORKERS = 2


async def slow(exchange: Exchange) -> None:
    """An answer of more than a second."""
    await exchange.head()
    for _ in range(30):
        await exchange.say("word ")
        await asyncio.sleep(0.05)
    await exchange.finish()


async def endless(exchange: Exchange) -> None:
    await exchange.head()
    while not exchange.gone.is_set():
        await exchange.say("word ")
        await asyncio.sleep(0.05)


class Running(Gateway):
    """A `latimer serve` process, its workers, and a client that makes a connection for each request."""

    def __init__(self, process: Latimer, session: aiohttp.ClientSession) -> None:
        super().__init__(process.url, session)
        self.latimer = process
        self.pid = process.process.pid

    @property
    def workers(self) -> list[int]:
        return children(self.pid)

    async def replaced(self, dead: int) -> None:
        await until(lambda: len(self.workers) == WORKERS and dead not in self.workers)

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self.latimer.exit_code, 10)

    async def counters(self) -> dict[tuple[str, ...], float]:
        families = text_string_to_metric_families((await self.get("/metrics")).body.decode())
        samples = [sample for family in families for sample in family.samples]
        return {
            (sample.name, *(text for _, text in sorted(sample.labels.items(), reverse=True))): sample.value
            for sample in samples
        }


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in found.stdout.splitlines()]
    return [int(own) for own, parent, state in rows if int(parent) == pid and not state.startswith("Z")]


def private_kilobytes(pid: int) -> int:
    """What a process does not share with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def alive(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip() not in ("", "Z", "Zs")


async def until(condition: Callable[[], bool], seconds: float = 8.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def start(home: Path, *arguments: str, url: str = UNREACHED, model: Sequence[str] = ("--model", "m")) -> Latimer:
    flags = ["--upstream", url, *model, "--port", "0", "--workers", str(WORKERS), *arguments]
    return Latimer(flags, home=home)


@asynccontextmanager
async def serving(
    home: Path, *answers: Answer, arguments: Sequence[str] = ()
) -> AsyncIterator[tuple[Running, Upstream]]:
    async with upstream(*answers) as script:
        process = await asyncio.to_thread(start(home, *arguments, url=script.url).ready)
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        try:
            async with aiohttp.ClientSession(connector=connector) as session:
                yield Running(process, session), script
        finally:
            await asyncio.to_thread(process.stop)
            assert not children(process.process.pid)


async def outcome(request: asyncio.Task[Response]) -> str:
    """Whether a stream was whole, or cut as by a death, or ended with an error event."""
    try:
        answer = await request
    except aiohttp.ClientError:
        return "cut"
    last = answer.body.rsplit(b"event: ", 1)[-1].split(b"\n")[0]
    return {b"message_stop": "whole", b"error": "error"}.get(last, "cut")


async def begun(script: Upstream, count: int) -> None:
    await until(lambda: len(script.exchanges) == count)


# --- sharing ---------------------------------------------------------------------------------------------------------


async def test_a_worker_killed_under_load(tmp_path: Path) -> None:
    """Of many streams only its own are cut, and whoever comes meanwhile is served."""
    before, meanwhile = 120, 40
    async with serving(tmp_path, slow) as (server, script):
        assert len(server.workers) == WORKERS
        streams = await arriving(server, before)
        await begun(script, before)
        victim = server.workers[0]
        os.kill(victim, signal.SIGKILL)
        fresh = await arriving(server, meanwhile)
        await begun(script, before + meanwhile)
        ends = [await outcome(stream) for stream in streams]
        assert [await outcome(stream) for stream in fresh] == ["whole"] * meanwhile
        # Asked last: the upstream looks only every few milliseconds whether somebody is still there.
        lost = [exchange for exchange in script.exchanges if exchange.gone.is_set()]
        assert ends.count("cut") == len(lost)  # the killed worker's, and no other
        assert ends.count("whole") == before - len(lost)
        assert 0.1 * before <= len(lost) <= 0.9 * before  # each had its share
        await server.replaced(victim)
        assert await outcome(asyncio.create_task(server.ask())) == "whole"
        assert f"worker 0 (process {victim}) ended with signal 9" in server.latimer.stderr


async def arriving(server: Running, count: int) -> list[asyncio.Task[Response]]:
    """Streams that begin one after the other."""
    streams = []
    for _ in range(count):
        streams.append(asyncio.create_task(server.ask()))
        await asyncio.sleep(0.004)
    return streams


async def test_connections_wait_while_no_worker_is_left(tmp_path: Path) -> None:
    async with serving(tmp_path, Say("Hello")) as (server, _):
        for pid in server.workers:
            os.kill(pid, signal.SIGKILL)
        answers = await asyncio.gather(*(asyncio.wait_for(server.ask(), 5) for _ in range(8)))
        assert [answer.text for answer in answers] == ["Hello"] * 8


ANSWERED = ("latimer_requests_total", "/v1/messages", "200")


async def counted(server: Running, expected: int) -> None:
    """Wait until the workers have told each other, then ask whichever takes the connection."""
    deadline = time.monotonic() + 4
    while (await server.counters()).get(ANSWERED) != expected:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert [(await server.counters())[ANSWERED] for _ in range(6)] == [expected] * 6


async def test_metrics_are_of_all_workers_and_outlive_them(tmp_path: Path) -> None:
    async with serving(tmp_path, Say("Hello", usage={"prompt_tokens": 7, "completion_tokens": 2})) as (server, _):
        await asyncio.gather(*(server.ask(stream=False) for _ in range(12)))
        await counted(server, 12)
        assert (await server.counters())["latimer_tokens_total", "upstream/m", "input"] == 84
        victim = server.workers[0]
        os.kill(victim, signal.SIGKILL)
        await server.replaced(victim)
        await counted(server, 12)
        await server.ask(stream=False)
        await counted(server, 13)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="this system does not tell")
async def test_each_worker_is_small(tmp_path: Path) -> None:
    async with serving(tmp_path, Say("Hello")) as (server, _):
        await asyncio.gather(*(server.ask() for _ in range(8)))
        for pid in server.workers:
            assert private_kilobytes(pid) < 25_000


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code", "whole_group"),
    [(signal.SIGTERM, 0, False), (signal.SIGTERM, 0, True), (signal.SIGINT, 130, True)],
    ids=["kill", "service manager", "control-c"],
)
async def test_streams_may_end(tmp_path: Path, number: signal.Signals, code: int, whole_group: bool) -> None:
    async with serving(tmp_path, slow) as (server, script):
        streams = [asyncio.create_task(server.ask()) for _ in range(4)]
        await begun(script, 4)
        pids = server.workers
        (os.killpg if whole_group else os.kill)(server.pid, number)
        await asyncio.sleep(0.3)
        with pytest.raises(aiohttp.ClientConnectorError):
            await server.get("/health")
        assert [await outcome(stream) for stream in streams] == ["whole"] * 4
        assert await server.exit_code() == code
        assert not any(alive(pid) for pid in pids)
        assert "ended with" not in server.latimer.stderr


async def test_streams_that_do_not_end_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path, endless) as (server, script):
        streams = [asyncio.create_task(server.ask()) for _ in range(2)]
        await begun(script, 2)
        os.kill(server.pid, signal.SIGTERM)
        before = time.monotonic()
        assert [await outcome(stream) for stream in streams] == ["error"] * 2
        assert await server.exit_code() == 0
        assert time.monotonic() - before < 8


async def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    async with serving(tmp_path, slow) as (server, script):
        stream = asyncio.create_task(server.ask())
        await begun(script, 1)
        pids = server.workers
        os.kill(server.pid, signal.SIGKILL)
        assert await outcome(stream) == "whole"
        await until(lambda: not any(alive(pid) for pid in pids))
        socket.create_server(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))).close()  # and the port is free


async def test_a_worker_may_be_ended_alone(tmp_path: Path) -> None:
    async with serving(tmp_path, slow) as (server, script):
        streams = [asyncio.create_task(server.ask()) for _ in range(4)]
        await begun(script, 4)
        os.kill(victim := server.workers[0], signal.SIGTERM)
        assert [await outcome(stream) for stream in streams] == ["whole"] * 4
        await server.replaced(victim)


@pytest.mark.parametrize("whole_group", [False, True], ids=["kill", "control-c"])
async def test_a_second_signal_ends_it_at_once(tmp_path: Path, whole_group: bool) -> None:
    (tmp_path / "c.toml").write_text("[server]\nshutdown_seconds = 600.0\n")
    async with serving(tmp_path, endless, arguments=["--config", str(tmp_path / "c.toml")]) as (server, script):
        streams = [asyncio.create_task(server.ask()) for _ in range(4)]
        await begun(script, 4)
        interrupt = os.killpg if whole_group else os.kill
        interrupt(server.pid, signal.SIGINT)
        await until(lambda: refused(server.url))
        await asyncio.sleep(0.3)
        assert not any(stream.done() for stream in streams)
        interrupt(server.pid, signal.SIGINT)
        assert [await outcome(stream) for stream in streams] == ["error"] * 4
        assert await server.exit_code() == 130


def refused(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), 1).close()
    except ConnectionRefusedError:
        return True
    return False


# --- newer configurations ---------------------------------------------------------------------------------------------


def configuration(url: str, model: str, more: str = "") -> str:
    return f'[providers.a]\nbase_url = "{url}"\n{more}\n[routes]\ndefault = "a/{model}"\n'


@asynccontextmanager
async def configured(home: Path, *answers: Answer) -> AsyncIterator[tuple[Running, Upstream, Path]]:
    """Workers with a configuration file that says the model is `old`."""
    path = home / "c.toml"
    async with upstream(*answers) as script:
        path.write_text(configuration(script.url, "old"))
        process = Latimer(["--config", str(path), "--port", "0", "--workers", str(WORKERS)], home=home)
        await asyncio.to_thread(process.ready)
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
                yield Running(process, session), script, path
        finally:
            await asyncio.to_thread(process.stop)


async def all_use(server: Running, model: str, **expected: Any) -> None:
    """Wait until each worker tells of this model, and of what else is expected of its configuration."""
    told: dict[int, Any] = {}

    def agree() -> bool:
        return len(told) == WORKERS and all(
            status["routes"]["default"] == [f"a/{model}"]
            and all(status["config"][name] == value for name, value in expected.items())
            for status in told.values()
        )

    deadline = time.monotonic() + 20
    while not agree():
        assert time.monotonic() < deadline, told
        # Some at once, which the workers share.
        answers = await asyncio.gather(*(server.get("/status") for _ in range(2 * WORKERS)))
        told |= {answer.json["worker"]: answer.json for answer in answers}


@pytest.mark.parametrize("signalled", [True, False], ids=["SIGHUP", "the file"])
async def test_all_workers_take_a_newer_configuration(tmp_path: Path, signalled: bool) -> None:
    async with configured(tmp_path, slow) as (server, script, path):
        streams = [asyncio.create_task(server.ask()) for _ in range(4)]
        await begun(script, 4)
        path.write_text(configuration(script.url, "new"))
        if signalled:
            os.kill(server.pid, signal.SIGHUP)
        await all_use(server, "new", number=2)
        assert (await server.ask()).headers["latimer-route"] == "a/new"
        assert [await outcome(stream) for stream in streams] == ["whole"] * 4
        assert server.latimer.stderr.count("the configuration is read again") == 1
        victim = server.workers[0]
        os.kill(victim, signal.SIGKILL)
        await server.replaced(victim)
        await all_use(server, "new", number=2)


UNCLOSED = "Invalid initial character for a key part (at end of document)"


async def test_a_bad_configuration_reaches_no_worker(tmp_path: Path) -> None:
    async with configured(tmp_path, Say("Hello")) as (server, script, path):
        path.write_text("[")
        await all_use(server, "old", number=1, error=f"{path}: this is not valid TOML: {UNCLOSED}")
        path.write_text(configuration(script.url, "new", 'api_key = "env:NOT_SET_ANYWHERE"'))
        unset = "the environment variable NOT_SET_ANYWHERE is not set. Set it where Latimer is started"
        why = f"providers.a.api_key: {unset}"
        await all_use(server, "old", number=1, error=why)
        assert (await server.ask()).text == "Hello"
        assert server.latimer.stderr.count("the configuration stays as it was") == 2
        victim = server.workers[0]
        os.kill(victim, signal.SIGKILL)
        await server.replaced(victim)
        await all_use(server, "old", number=1, error=why)


# --- starts that fail ------------------------------------------------------------------------------------------------


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = start(tmp_path, "--port", str(taken.getsockname()[1]))
        assert server.exit_code() == 1
    assert server.stderr.count("is in use") == 1
    assert len(server.stderr.splitlines()) == 1
    assert not server.stdout


def test_a_bad_configuration_is_told_once(tmp_path: Path) -> None:
    server = start(tmp_path, "--api-key-env", "NOT_SET_ANYWHERE")
    assert server.exit_code() == 2
    assert not server.stdout
    assert [line for line in server.stderr.splitlines() if line.startswith("latimer: ")] != []
    assert server.stderr.count("latimer: ") == 1
    assert "NOT_SET_ANYWHERE" in server.stderr


def test_what_is_only_a_warning_is_told_once_too(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        '[providers.a]\nbase_url = "http://127.0.0.1:9/v1"\n'
        '[providers.b]\nbase_url = "http://127.0.0.1:9/v1"\napi_key = "env:NOT_SET_ANYWHERE"\n'
        '[routes]\ndefault = ["a/m", "b/m"]\n'
    )
    server = Latimer(["--config", str(config), "--port", "0", "--workers", "3"], home=tmp_path).ready()
    assert server.stop() == 130
    assert server.stderr.count("NOT_SET_ANYWHERE") == 1
    assert server.stderr.count("prompts go to a/m") == 1


async def test_a_key_that_vanishes_later(tmp_path: Path) -> None:
    """What cannot start any more is tried again, while the others serve."""
    key = tmp_path / "key"
    key.write_text("sk-secret")
    key.chmod(0o600)
    config = tmp_path / "c.toml"
    config.write_text(f'[providers.a]\nbase_url = "{UNREACHED}"\napi_key = "file:{key}"\n[routes]\ndefault = "a/m"\n')
    server = Latimer(["--config", str(config), "--port", "0", "--workers", "2"], home=tmp_path)
    await asyncio.to_thread(server.ready)
    try:
        victim, other = children(server.process.pid)
        key.rename(tmp_path / "gone")
        os.kill(victim, signal.SIGKILL)
        await until(lambda: "worker 0 could not start" in server.stderr)
        assert alive(other)
        (tmp_path / "gone").rename(key)
        await until(lambda: len(children(server.process.pid)) == 2)
        os.kill(other, 0)
        assert "sk-secret" not in server.stderr
    finally:
        assert await asyncio.to_thread(server.stop) == 130


def test_waits_between_deaths() -> None:
    assert [wait_after(deaths) for deaths in range(9)] == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert wait_after(100_000) == 8.0


async def test_workers_that_always_die(tmp_path: Path) -> None:
    server = await asyncio.to_thread(start(tmp_path).ready)
    deadline = time.monotonic() + 60
    try:
        while server.process.poll() is None:
            assert time.monotonic() < deadline
            for pid in children(server.process.pid):
                with suppress(ProcessLookupError):  # it was dead already, and its parent has heard of it
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)
    finally:
        await asyncio.to_thread(server.stop)
    assert server.exit_code() == 1
    assert server.stderr.count("latimer: the workers die soon after they start") == 1


SUPERVISED = """
import asyncio, sys, time
from pathlib import Path
from latimer.policy.config import parse
from latimer.shell import workers
from latimer.shell.instance import Identity
from latimer.shell.reload import Source, Taken
from latimer.shell.worker import READY, Job

{change}
text = '[providers.a]\\nbase_url = "http://127.0.0.1:9/v1"\\n[routes]\\ndefault = "a/m"\\n'
source = Source(Path(sys.argv[1]) / "none.toml", lambda: text, lambda text: parse(text, "test.toml"))
job = Job(source.load(), Path(sys.argv[1]), source, Identity.new(), Taken(1, time.time()))
sockets = workers.bind("127.0.0.1", 0)
sys.exit(workers.supervise(job, 2, sockets, lambda url: print(url, flush=True)))
"""
BROKEN = """
async def broken(*_):
    raise RuntimeError("the canary of a value")
workers.work = broken
workers.FIRST_WAIT_SECONDS = 0.001
"""
LATE = """
import atexit
async def late(job, place, channel):
    if place.slot == 0:
        await asyncio.sleep(1)
    channel.sendall(READY)
    await asyncio.get_running_loop().sock_recv(channel, 1)
    return 0
workers.work = late
began = time.process_time()
atexit.register(lambda: print(time.process_time() - began))
"""
DEAF = """
async def deaf(job, place, channel):
    channel.sendall(READY)
    time.sleep(60)
workers.work = deaf
workers.GRACE_SECONDS = 0.3
"""


@contextmanager
def supervised(change: str, state: Path) -> Iterator[subprocess.Popen[str]]:
    """A supervisor whose workers do something else."""
    command = [sys.executable, "-c", SUPERVISED.format(change=change), str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()  # where a test has failed, it would be waited for without end


def test_a_parent_that_waits_does_nothing(tmp_path: Path) -> None:
    """Whatever it waits for: here the first worker, which takes long to start, and then all of them."""
    with supervised(LATE, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        used, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert float(used) < 0.4


def test_workers_that_never_start(tmp_path: Path) -> None:
    with supervised(BROKEN, tmp_path) as process:
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert output == ""
    assert errors.count("worker 0: unexpected RuntimeError") == 5
    assert "worker 1" not in errors
    assert "LatimerError: the workers die soon after they start" in errors
    assert "the canary of a value" not in errors


def test_workers_that_do_not_stop_are_killed(tmp_path: Path) -> None:
    with supervised(DEAF, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        pids = children(process.pid)
        assert len(pids) == 2
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert errors.count("did not stop and is killed") == 2
    assert not any(alive(pid) for pid in pids)


def test_without_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    result = CliRunner().invoke(app, ["serve", "--upstream", UNREACHED, "--model", "m", "--workers", "2"])
    assert isinstance(result.exception, ConfigError)
    assert "--workers" in str(result.exception)


def test_none_is_wrong_usage() -> None:
    result = CliRunner().invoke(app, ["serve", "--upstream", UNREACHED, "--model", "m", "--workers", "0"])
    assert result.exit_code == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
def test_it_listens_where_a_single_process_would(host: str) -> None:
    sockets = bind(host, 0)
    try:
        for one in sockets:
            family = one.family
            with socket.socket(family) as client:
                client.settimeout(2)
                client.connect(("::1" if family == socket.AF_INET6 else "127.0.0.1", one.getsockname()[1]))
    finally:
        for one in sockets:
            one.close()
