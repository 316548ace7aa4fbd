"""One fault, played in every cell of its row."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest

from latimer.dialects import body
from latimer.dialects.messages import passthrough
from latimer.policy import retry
from latimer.policy.config import Config, parse
from latimer.shell import attempt, engine, upstream
from latimer.shell.http import asking
from latimer.shell.service import running
from latimer.wire import sse
from tests.faults.answers import TEXT
from tests.faults.certificates import certificate
from tests.faults.line import Line, Play, Upstream
from tests.faults.reader import Told, ask
from tests.faults.table import Fault, well
from tests.shell.harness import KEY, KEY_VARIABLE, PROMPT

COLUMNS = (
    ("chat", "stream", ""),
    ("chat", "message", 'request = { stream = "as_asked" }'),
    ("chat", "message of a stream", ""),
    ("responses", "stream", ""),
    ("responses", "message", 'request = { stream = "as_asked" }'),
    ("messages", "stream, passed", ""),
    ("messages", "message, passed", ""),
    ("messages", "stream, translated", "native = { passthrough = false }"),
    ("messages", "message, translated", 'request = { stream = "as_asked" }\nnative = { passthrough = false }'),
)
PHASES = ("before", "after")
TIMES = ("always", "once")
LIMIT = 200_000


@dataclass(frozen=True)
class Place:
    """Where in the matrix."""

    column: tuple[str, str, str]
    phase: str
    times: str

    @property
    def streams(self) -> bool:
        """Whether the client asks for a stream."""
        return self.column[1].startswith("stream")


@dataclass(frozen=True)
class Cell:
    """What became of one request. `message` is what a client was told of a failure, '' where there was none."""

    outcome: str
    message: str


@contextmanager
def short_limits(folder: Path) -> Iterator[None]:
    """Nothing waits for long, nothing needs to be large, and one certificate is trusted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, KEY)
        patch.setenv("SSL_CERT_FILE", str(certificate(folder / "trusted.pem")))
        patch.setattr(retry, "FIRST_WAIT_SECONDS", 0.1)
        patch.setattr(attempt, "SETTLE_SECONDS", 0.1)
        patch.setattr(upstream, "ERROR_SECONDS", 0.3)
        patch.setattr(upstream, "DRAIN_SECONDS", 0.1)
        patch.setattr(sse, "MAX_EVENT_BYTES", LIMIT)
        patch.setattr(body, "MAX_WHOLE_BYTES", LIMIT)
        patch.setattr(passthrough, "MAX_WHOLE_BYTES", LIMIT)
        patch.setattr(engine.Engines, "start", lambda _: None)  # it asks the upstreams too, which would be counted
        asking.tls_context.cache_clear()
        yield
    asking.tls_context.cache_clear()


async def play(fault: Fault) -> dict[Place, Cell]:
    """The whole row."""
    places = [Place(*each) for each in product(COLUMNS, PHASES, TIMES)]
    with TemporaryDirectory() as name, short_limits(Path(name)):
        async with (
            _upstreams(fault, places, Path(name)) as upstreams,
            running(_config(fault, places, upstreams)) as url,
        ):
            port = urlsplit(url).port
            assert port
            cells = await asyncio.gather(
                *(_cell(fault, place, number, port, upstreams[number]) for number, place in enumerate(places))
            )
    return dict(zip(places, cells, strict=True))


@asynccontextmanager
async def _upstreams(fault: Fault, places: list[Place], folder: Path) -> AsyncIterator[list[Upstream]]:
    upstreams = [_upstream(fault, place) for place in places]
    tls = {"trusted": folder / "trusted.pem", "untrusted": certificate(folder / "untrusted.pem")}.get(fault.server)
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
    try:
        for each, place in zip(upstreams, places, strict=True):
            await each.listen(context)
            if fault.server == "refusing" and place.phase == "before":
                each.deaf()
        yield upstreams
    finally:
        for each in upstreams:
            await each.stop()
    errors = [error for each in upstreams for error in each.errors]
    assert not errors, errors


def _upstream(fault: Fault, place: Place) -> Upstream:
    after = place.phase == "after"
    plays: list[Play] = [_cut] if after and not fault.within else []
    if fault.server != "refusing":
        plays.append(fault.play)
    if place.times == "once" or not plays:
        plays.append(well)
    early = (fault.play,) if fault.server in {"early", "no TLS"} else ()
    return Upstream(place.column[0], plays, after=after, early=early, closes=fault.server == "refusing" and after)


async def _cut(line: Line) -> None:
    """The first token, and no more."""
    await line.begin()
    await line.reset()


def _config(fault: Fault, places: list[Place], upstreams: list[Upstream]) -> Config:
    scheme = "https" if fault.server in {"trusted", "untrusted", "no TLS"} else "http"
    lines = ["[server]", "port = 0", *(f"{name} = {value}" for name, value in fault.limits.items())]
    routes = []
    for number, (place, each) in enumerate(zip(places, upstreams, strict=True)):
        dialect, _, rules = place.column
        lines += [f"[providers.cell{number}]", f'base_url = "{scheme}://127.0.0.1:{each.port}/v1"']
        lines += [f'api_key = "env:{KEY_VARIABLE}"', f'dialect = "{dialect}"', rules]
        routes.append(f'm{number} = "cell{number}/m"')
    return parse("\n".join([*lines, "[routes]", *routes]), "faults.toml")


async def _cell(fault: Fault, place: Place, number: int, port: int, server: Upstream) -> Cell:
    question = {"model": f"m{number}", "max_tokens": 100, "messages": [{"role": "user", "content": PROMPT}]}
    refused = fault.server == "refusing"
    if refused and place.times == "once":
        asyncio.get_running_loop().call_later(0.05, lambda: _later(server))
    question["stream"] = place.streams
    if fault.endless and "stream" in place.column[1]:
        return await _leaving(place, port, question, server)
    told = await ask(port, question)
    if told.error:
        _check_error(fault, place, told, f"cell{number}/m: ")
    return Cell(outcome(told, 1 if refused else server.requests), shown(told))


async def _leaving(place: Place, port: int, question: dict[str, object], server: Upstream) -> Cell:
    """A client that has had enough, or enough of nothing, and what the upstream sees of that."""
    with suppress(TimeoutError):
        told = await ask(port, question, leave=lambda told, size: size > 2 * LIMIT or told.pings > 7, patience=2)
        if told.error:
            assert "nothing came for 0.4 s" in told.error["message"]
            return Cell(outcome(told, server.requests), shown(told))
        assert told.status == 0
        assert bool(told.text) == (place.phase == "after")
    assert not server.left.is_set() or place.streams
    await asyncio.wait_for(server.left.wait(), 5)
    return Cell("goes on until the client leaves", "")


_LATER: set[asyncio.Task[None]] = set()


def _later(server: Upstream) -> None:
    async def listen() -> None:
        while server.listening:  # until the first request has come  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await server.listen()

    task = asyncio.get_running_loop().create_task(listen())
    _LATER.add(task)
    task.add_done_callback(_LATER.discard)


def _check_error(fault: Fault, place: Place, told: Told, route: str) -> None:
    message = told.error["message"]
    where = f"{fault.name}, {place}: {message}"
    assert message.startswith(route), where
    assert KEY not in message, where
    assert PROMPT not in message, where
    says = fault.says[PHASES.index(place.phase)]
    if place.phase == "after" and not fault.within:
        says += "|the connection was closed before"
    assert re.search(says, message), where


def outcome(told: Told, requests: int) -> str:
    """In a few words. A text that is not the whole one is told apart."""
    times = f" x{requests}" if requests > 1 else ""
    if told.status != 200:
        final = ", final" if told.headers.get("x-should-retry") == "false" else ""
        return f"{told.status} {told.error['type']}{final}{times}"
    if told.error:
        after = "" if told.text else " before any text"
        return f"event: {told.error['type']}{after}{times}"
    if not told.whole:
        return f"without an end{times}"
    if told.text == TEXT:
        return f"answered{times}"
    return f"answered: {told.text!r}{times}" if told.text else f"answered with nothing{times}"


def shown(told: Told) -> str:
    """The message without what differs from run to run."""
    message = re.sub(r"\[Errno \d+\] | \(_ssl\.c:\d+\)", "", told.error.get("message", ""))
    message = re.sub(r"127\.0\.0\.1(:|', )\d+", r"HOST\1PORT", message)
    return re.sub(r"cell\d+", "PROVIDER", message)
