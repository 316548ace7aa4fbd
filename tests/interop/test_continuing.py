"""What the real Claude Code makes of an answer that breaks off: by itself, and with `[retry] continuations`.

The same table stands in docs/continuation.md.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.claude import NEWEST, OLDER, SKIP_PERMISSIONS, ClaudeCode, Run
from tests.interop.conftest import check
from tests.latimer_process import configured
from tests.scenarios.replies import Call, Cut, Pause, Say, Wire
from tests.upstream import Exchange, Reply, Upstream

COMMAND = {"command": "echo x >> made.txt", "description": "Add a line"}
TEXT = "I will write the file now, with one line in it."
SAID = Say(TEXT, (Call("Bash", COMMAND),), piece=9)
LAST_WORDS = re.compile(r"only once:\n(.*?)\nThen", re.DOTALL)
RESUME = "Your response above was cut off mid-stream"
"""How the newest client itself asks a model to go on."""

Broken = Callable[[Wire], Wire]


def in_the_text(wire: Wire) -> Wire:
    return wire.ended(b"ile now, ")


def in_the_call(wire: Wire) -> Wire:
    return wire.ended(b"echo ")


def after_the(nth: int) -> Broken:
    """After the end of a block: only Messages has one on the wire."""

    def broken(wire: Wire) -> Wire:
        ends = [place for place, step in enumerate(wire.steps) if b"content_block_stop" in bytes(step)]  # type: ignore[arg-type]  # no pauses yet
        return Wire(wire.steps[: ends[nth] + 1], wire.status, wire.headers)

    return broken


@contextmanager
def broken_once(
    place: Broken, home: Path, *, dialect: str, version: str = NEWEST, on: bool
) -> Iterator[tuple[Run, Upstream, str]]:
    """The client's run, the upstream, whose first answer breaks off, and what the command wrote."""

    def script(exchange: Exchange) -> Reply:
        if exchange.results:
            return Say("The line is there.")
        if not exchange.number:
            wire = place(exchange.render(SAID))
            return Wire((*wire.steps, Pause(0.3), Cut()), wire.status, wire.headers)
        words = LAST_WORDS.search(exchange.said("user")[-1])
        return Say(words[1] + TEXT.partition(words[1])[2], SAID.calls, piece=9) if words else SAID

    rules = f'dialect = "{dialect}"\n' + ("[retry]\ncontinuations = 2\n" if on else "")
    with Upstream().play(script) as upstream, configured(upstream.url, rules, home=home) as gateway:
        claude = ClaudeCode(version, home / "home", gateway.url, {"CLAUDE_CODE_MAX_RETRIES": "1"})
        run = claude.ask("write the line", *SKIP_PERMISSIONS)
        made = claude.project / "made.txt"
        yield run, upstream, made.read_text() if made.exists() else ""
    check(upstream)


def texts(run: Run) -> list[str]:
    """What the client took the model to have said."""
    return [block["text"] for block in run.blocks if block["type"] == "text"]


@pytest.mark.parametrize("version", [NEWEST, OLDER])
@pytest.mark.parametrize(
    ("dialect", "place", "requests"),
    [
        ("chat", in_the_text, 3),
        ("responses", in_the_call, 3),
        ("messages", after_the(0), 3),
        ("messages", after_the(1), 2),
    ],
    ids=["in the text", "in the call", "after the text", "after the call"],
)
def test_it_goes_on(dialect: str, place: Broken, requests: int, version: str, tmp_path: Path) -> None:
    with broken_once(place, tmp_path, dialect=dialect, version=version, on=True) as (run, upstream, made):
        assert texts(run) == [TEXT, "The line is there."]
        assert not run.failed
        assert made == "x\n"
        assert len(upstream.exchanges) == requests
        assert all(exchange.streaming for exchange in upstream.exchanges)
        assert RESUME not in upstream.last.text, "the client noticed nothing"


@pytest.mark.parametrize(
    ("version", "place", "said", "lines"),
    [
        (NEWEST, in_the_text, [TEXT, "The line is there."], "x\n"),
        (NEWEST, after_the(0), [TEXT, RESUME, TEXT, "The line is there."], "x\n"),
        (NEWEST, after_the(1), [TEXT, "API Error", "The line is there."], "x\n"),
        (OLDER, in_the_text, [TEXT, "The line is there."], "x\n"),
        (OLDER, after_the(0), [TEXT, "API Error"], ""),
        (OLDER, after_the(1), [TEXT, "API Error", "The line is there."], "x\n"),
    ],
)
def test_what_the_client_does_by_itself(
    version: str, place: Broken, said: list[str], lines: str, tmp_path: Path
) -> None:
    """Why it is off by default: the newest client recovers, though with words twice or a whole answer more."""
    with broken_once(place, tmp_path, dialect="messages", version=version, on=False) as (run, upstream, made):
        assert [text.startswith(start) for text, start in zip(texts(run), said, strict=True)] == [True] * len(said)
        assert made == lines
        asked_to_resume = any(RESUME in exchange.text for exchange in upstream.exchanges)
        assert asked_to_resume == (said.count(TEXT) == 2)
        assert all(exchange.streaming for exchange in upstream.exchanges) == (place is not in_the_text)
