"""The matrix as a page: `python docs/generate.py` plays it and writes docs/faults.md, tests play it and compare."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.faults.chains import FORMS, Outcomes, play_all
from tests.faults.matrix import COLUMNS, PHASES, Cell, Place, play
from tests.faults.table import FAULTS, Fault

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"

HEAD = """# Faults

<!-- Written by docs/generate.py, which plays all of it; tests/faults plays it again and compares. -->

What the client gets when an upstream fails, by fault, dialect and moment. Each cell is what two upstreams lead to:
one that always fails like this, and, after the slash, one that does it once and then answers well. Whatever stands
here was read by a strict reader: HTTP framing, the grammar of server-sent events, the order of Anthropic's events,
the error envelope.

- *answered*: the client has the whole answer and sees nothing of the fault; *x2*: at the second request upstream.
- *500 api_error x3*: an HTTP error after three requests upstream; *final*: it comes with `x-should-retry: false`.
- *event: api_error*: the client has part of the answer, then this error; it is never told that the answer is whole.
- *goes on until the client leaves*: then the connection to the upstream is closed, too.

*before* and *after* speak of the first token. A fault that comes before any answer (a refused connection, a status)
can only follow a token on the next request: there, *after* means that the answer is reset after its first token and
the fault meets the next request. A stream whose token has reached the client is not asked for again, since tokens
cannot be taken back.

*as events*: the client asks for a message, and Latimer for a stream, as it does by default with Chat Completions.
*passed*: the bytes of a Messages upstream go through; *read*: they are read and written anew.

Limits are small while this is played (0.4 s of silence, 200 kB of a line or a message); retries wait 0.1 s.
"""
NAMES = {
    "message of a stream": "message, as events",
    "stream, translated": "stream, read",
    "message, translated": "message, read",
}
TOLD = """
## What the client is told

In the words of one dialect where they differ in nothing but its name. `PROVIDER/m` is the route.
"""
SECOND = """
## With a second route

What the client gets when the first of two routes always fails like this before the first token, and the second one is
fine: never an HTTP error. The second route speaks another dialect. A stream of a Messages upstream counts as begun with
the `content_block_start` of thinking or of a tool call; what breaks it after that is told in the stream. All causes of
`[fallback] on` are set.
"""


def row(fault: Fault, phase: str, cells: Mapping[Place, Cell]) -> str:
    """One line of the table of outcomes."""
    shown = []
    for column in COLUMNS:
        always, once = (cells[Place(column, phase, times)].outcome for times in ("always", "once"))
        shown.append(always if always == once else f"{always} / {once}")
    return f"| {fault.name} | {phase} | {' | '.join(shown)} |"


def told(fault: Fault, cells: Mapping[Place, Cell]) -> list[str]:
    """The messages of one fault, the first of each kind."""
    messages = dict.fromkeys(cells[Place(column, phase, "always")].message for phase in PHASES for column in COLUMNS)
    kept = [message.replace("|", "\\|") for message in messages if message]
    return [f"| {fault.name} | {'<br>'.join(kept) or 'nothing, the answer is whole'} |"]


def lines(fault: Fault, cells: Mapping[Place, Cell]) -> tuple[list[str], list[str]]:
    """What of the page is about one fault: in the table of outcomes, and in that of messages."""
    return [row(fault, phase, cells) for phase in PHASES], told(fault, cells)


def chained(fault: Fault, found: Outcomes) -> str:
    """One line of the table of chains."""
    return f"| {fault.name} | {' | '.join(found[fault.name, form] for form in FORMS)} |"


def table(head: Iterable[str], rows: Iterable[str]) -> str:
    titles = list(head)
    return "\n".join([f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|", *rows])


def page() -> str:
    """Play everything."""
    outcomes: list[str] = []
    messages: list[str] = []
    for fault in FAULTS:
        rows, words = lines(fault, asyncio.run(play(fault)))
        outcomes += rows
        messages += words
    titles = ["fault", "token"]
    titles += [f"{dialect}: {NAMES.get(form, form)}" for dialect, form, _ in COLUMNS]
    second = table(["fault", *(f"{dialect}: {form}" for dialect, form in FORMS)], _chains())
    return f"{HEAD}\n{table(titles, outcomes)}\n{SECOND}\n{second}\n{TOLD}\n{table(['fault', 'messages'], messages)}\n"


def _chains() -> list[str]:
    found = asyncio.run(play_all(FAULTS))
    return [chained(fault, found) for fault in FAULTS]


def write() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")
