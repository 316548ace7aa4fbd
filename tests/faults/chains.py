"""Every fault before the first token on the first of two routes, while the second one is fine."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from latimer.policy.config import parse
from latimer.shell.service import running
from tests.faults.certificates import certificate
from tests.faults.line import Upstream
from tests.faults.matrix import LIMIT, outcome, short_limits
from tests.faults.reader import ask
from tests.faults.table import Fault, well
from tests.shell.harness import KEY_VARIABLE, PROMPT

FORMS = (
    ("chat", "stream"),
    ("chat", "message"),
    ("responses", "stream"),
    ("messages", "stream"),
    ("messages", "message"),
)
SECOND = {"chat": "responses", "responses": "messages", "messages": "chat"}
"""By the first route's dialect: a chain may change it."""
ON = ("connection", "rate_limit", "server_error", "overloaded", "timeout", "billing", "authentication")
FIRST_TOKEN = 2.5
"""How much longer than silence is stood what says nothing of an answer."""
MOST_PINGS = 30
"""Clients that hear of nothing else leave: three seconds later than Latimer should have."""


@dataclass(frozen=True)
class Link:
    """A first route that always fails in one way."""

    fault: Fault
    form: tuple[str, str]

    @property
    def dialect(self) -> str:
        return self.form[0]


Outcomes = Mapping[tuple[str, tuple[str, str]], str]
"""By a fault's name and a form."""


async def play_all(faults: Iterable[Fault]) -> Outcomes:
    """What clients get by each of them, and from which route."""
    found: dict[tuple[str, tuple[str, str]], str] = {}
    with TemporaryDirectory() as name, short_limits(Path(name)):
        for _, group in groupby(sorted(faults, key=_limits), key=_limits):
            links = [Link(*each) for each in product(group, FORMS)]
            async with chains(links, Path(name)) as text, running(parse(text, "chains.toml")) as url:
                found |= await ask_all(links, url)
    return found


async def ask_all(links: list[Link], url: str) -> Outcomes:
    """Ask for an answer by every chain."""
    port = urlsplit(url).port
    assert port
    outcomes = await asyncio.gather(*(_ask(number, link, port) for number, link in enumerate(links)))
    return {(link.fault.name, link.form): each for link, each in zip(links, outcomes, strict=True)}


@asynccontextmanager
async def chains(links: list[Link], folder: Path) -> AsyncIterator[str]:
    """The upstreams of the chains, and a configuration that leads to them. The links' limits are alike."""
    trusted = certificate(folder / "trusted.pem")
    tls = {"trusted": _context(trusted), "untrusted": _context(certificate(folder / "untrusted.pem"))}
    limits = links[0].fault.limits
    lines = ["[server]", "port = 0", *(f"{name} = {value}" for name, value in limits.items())]
    lines.append(f"first_token_timeout_seconds = {FIRST_TOKEN * limits['idle_timeout_seconds']}")
    lines += ["[fallback]", f"on = {json.dumps(ON)}"]
    async with AsyncExitStack() as stack:
        for dialect in SECOND:
            good = Upstream(dialect, [well], after=False)
            stack.push_async_callback(good.stop)
            await good.listen()
            lines += _provider(f"second-{dialect}", f"http://127.0.0.1:{good.port}/v1", dialect, "")
        for number, link in enumerate(links):
            kind = link.fault.server
            early = (link.fault.play,) if kind in {"early", "no TLS"} else ()
            bad = Upstream(link.dialect, [link.fault.play], after=False, early=early)
            stack.push_async_callback(bad.stop)
            await bad.listen(tls.get(kind))
            if kind == "refusing":
                bad.deaf()
            scheme = "https" if kind in {*tls, "no TLS"} else "http"
            rules = 'request = { stream = "as_asked" }' if link.form[1] == "message" else ""
            lines += _provider(f"first{number}", f"{scheme}://127.0.0.1:{bad.port}/v1", link.dialect, rules)
        routes = (
            f'm{number} = ["first{number}/m", "second-{SECOND[one.dialect]}/m"]' for number, one in enumerate(links)
        )
        yield "\n".join([*lines, "[routes]", *routes])


def _limits(fault: Fault) -> str:
    return str(fault.limits)


def _context(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def _provider(name: str, url: str, dialect: str, rules: str) -> list[str]:
    return [
        f"[providers.{name}]",
        f'base_url = "{url}"',
        f'api_key = "env:{KEY_VARIABLE}"',
        f'dialect = "{dialect}"',
        rules,
    ]


async def _ask(number: int, link: Link, port: int) -> str:
    question: dict[str, object] = {"model": f"m{number}", "max_tokens": 100}
    question["messages"] = [{"role": "user", "content": PROMPT}]
    question["stream"] = link.form[1] == "stream"
    told = await ask(port, question, leave=lambda told, size: told.pings > MOST_PINGS or size > 2 * LIMIT)
    if not told.status:
        return "goes on until the client leaves"
    what = outcome(told, 1)
    route = told.headers["latimer-route"]
    known = {f"first{number}/m": "first", f"second-{SECOND[link.dialect]}/m": "second"}
    return f"{what} by the {known[route]}" if told.whole else what
