"""Mixed traffic with faults at full speed for as long as one likes: `python -m tests.faults.soak EVENTS`, `make soak`.

Resident memory is read after each tenth; files and threads before, and once it is quiet again.
"""

import asyncio
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.crowd import Crowd, Seen, Upstream, Use, config, used
from tests.latimer_process import serving

CLIENTS = 50
TOKENS = 200
BURST = 20
TENTHS = 10
WARM_UP = 2000
"""Streams before anything is measured: modules are imported and caches filled by the first of their kind."""


@dataclass(frozen=True)
class Result:
    """`memory` is in MB, after each tenth."""

    seen: Seen
    before: Use
    after: Use
    memory: list[float]
    seconds: float

    @property
    def growth(self) -> float:
        """Of memory, from the first tenth to the last one."""
        return self.memory[-1] / self.memory[0] - 1

    def __str__(self) -> str:
        seen, before, after = self.seen, self.before, self.after
        each = (after.cpu - before.cpu) / seen.events * 1e6
        broken = sum(seen.broken.values())
        memory = ", ".join(f"{size:.1f}" for size in self.memory)
        return "\n".join(
            [
                f"{seen.events:,} events in {self.seconds:.0f} s ({each:.1f} us of CPU each)",
                f"{seen.whole:,} streams whole, {broken:,} broken as they should: {dict(seen.broken)}",
                f"{seen.left:,} that the client left",
                f"resident after each tenth, MB: {memory} ({self.growth:+.1%})",
                f"files {before.files} -> {after.files}, threads {before.threads} -> {after.threads}",
            ]
        )


async def soak(events: int) -> Result:
    """Ask for so many events of streams, about, and look at the process."""
    streams = events * 5 // 4 // TOKENS  # some are messages, and some clients leave
    upstream = Upstream(pace=0, burst=BURST)
    await upstream.start()
    text, models = config(upstream.port)
    with TemporaryDirectory() as name:
        home = Path(name)
        (home / "latimer.toml").write_text(text)
        with serving(["--config", str(home / "latimer.toml")], home=home) as latimer:
            process = latimer.process.pid
            crowd = Crowd(latimer.url, models, TOKENS, mixed=True)
            await asyncio.sleep(0.5)  # until the upstreams have been asked for their models
            before = used(process)
            memory: list[float] = []
            await crowd.ask(CLIENTS, WARM_UP)
            crowd.seen = Seen()
            before = replace(before, cpu=used(process).cpu)
            started = time.monotonic()
            for _ in range(TENTHS):
                await crowd.ask(CLIENTS, max(CLIENTS, streams // TENTHS))
                memory.append(used(process).resident)
            seconds = time.monotonic() - started
            upstream.stop()
            after = await _quiet(process, before)
    return Result(crowd.seen, before, after, memory, seconds)


async def _quiet(process: int, before: Use) -> Use:
    """When it has closed what the other sides have closed."""
    deadline = time.monotonic() + 10
    while used(process).files > before.files and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    return used(process)


if __name__ == "__main__":
    done = asyncio.run(soak(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000))
    sys.stdout.write(f"{done}\n")
    sys.exit(done.growth > 0.05 or done.after.files > done.before.files or done.after.threads > done.before.threads)
