"""A thousand streams at once with faults among them, and a short soak; `make soak` is the long one."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from latimer.launch import raise_file_limit
from tests.faults.crowd import EVERY, Crowd, Upstream, chained, config, used
from tests.faults.soak import soak
from tests.latimer_process import serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the process's figures from /proc")

STREAMS = 1000
TOKENS = 40
PACE_SECONDS = 0.2
"""Between two tokens of a stream: slow enough for two cores to carry all three sides."""


@pytest.mark.timeout(120)
def test_a_thousand_streams_at_once(tmp_path: Path) -> None:
    """None is lost, none gets another's tokens, each ends well-formed, and each that broke says so."""

    raise_file_limit()

    async def run() -> tuple[Crowd, int]:
        upstream = Upstream(pace=PACE_SECONDS, burst=1)
        await upstream.start()
        text, models = config(upstream.port)
        (tmp_path / "latimer.toml").write_text(text)
        with serving(["--config", str(tmp_path / "latimer.toml")], home=tmp_path) as latimer:
            crowd = Crowd(latimer.url, models, TOKENS)
            started = time.monotonic()
            asking = asyncio.create_task(crowd.ask(STREAMS, STREAMS))
            most = 0
            while not asking.done():
                most = max(most, upstream.open)
                await asyncio.wait([asking], timeout=0.2)
            await asking
            use = used(latimer.process.pid)
            seconds = time.monotonic() - started
        upstream.stop()
        sys.stdout.write(
            f"{STREAMS} streams, {crowd.seen.events} events in {seconds:.1f} s; {most} at once;"
            f" {use.cpu:.1f} s of CPU, {use.resident:.0f} MB resident\n"
        )
        assert use.resident < 400
        return crowd, most

    crowd, most = asyncio.run(run())
    broken = sum(crowd.seen.broken.values())
    assert crowd.seen.whole + broken == STREAMS
    assert set(crowd.seen.broken) == {"reset", "closed", "ended", "garbage", "error", "bad chunk"}
    assert broken >= STREAMS // EVERY * 6 // 8 - 2
    assert most > STREAMS * 0.9


@pytest.mark.timeout(120)
def test_a_few_faults_drive_nobody_to_the_second_route(tmp_path: Path) -> None:
    """Answers overlap, so that hardly one begins after the newest failure and ends before the next."""

    raise_file_limit()

    async def run() -> tuple[Crowd, str]:
        upstream, second = Upstream(pace=0.05, burst=1), Upstream(pace=0.05, burst=1)
        await upstream.start()
        await second.start()
        (tmp_path / "latimer.toml").write_text(chained(upstream.port, second.port))
        with serving(["--config", str(tmp_path / "latimer.toml")], home=tmp_path) as latimer:
            crowd = Crowd(latimer.url, ("chat",), TOKENS // 2)
            await crowd.ask(100, 400)
        upstream.stop()
        second.stop()
        return crowd, latimer.stderr

    crowd, log = asyncio.run(run())
    broken = sum(crowd.seen.broken.values())
    assert broken > 10
    assert crowd.seen.whole + broken == 400
    assert log.count("the answer broke off") == broken
    assert "others come first" not in log
    assert "answered instead" not in log


@pytest.mark.timeout(120)
def test_a_short_soak_leaves_nothing_behind() -> None:
    raise_file_limit()
    done = asyncio.run(soak(100_000))
    sys.stdout.write(f"{done}\n")
    # So few events that the process still warms up in them; `make soak` holds two million to 5 %.
    assert done.growth < 0.10, str(done)
    assert done.after.files <= done.before.files, str(done)
    assert done.after.threads <= done.before.threads, str(done)
    assert sum(done.seen.broken.values()) > 10
