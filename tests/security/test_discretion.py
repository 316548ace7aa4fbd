"""What a log says of exceptions: their type and place, never what they quote."""

import asyncio
import gc
import io
import logging
from collections.abc import Iterator

import pytest

from latimer.shell.discretion import Discreet
from tests.shell.harness import KEY, PROMPT


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """A log as `latimer serve` has it."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(Discreet())
    loggers = [logging.getLogger(name) for name in ("asyncio", "latimer.test", "library")]
    kept = [(each.propagate, each.level) for each in loggers]
    for each in loggers:
        each.addHandler(handler)
        each.propagate = False
        each.setLevel(logging.DEBUG)
    yield out
    for each, (propagate, level) in zip(loggers, kept, strict=True):
        each.removeHandler(handler)
        each.propagate = propagate
        each.setLevel(level)


async def _explode(what: str) -> None:
    raise KeyError(f"{what} {KEY}")


async def test_a_task_whose_exception_nobody_takes(said: io.StringIO) -> None:
    task = asyncio.create_task(_explode(PROMPT), name=f"task {KEY}")
    await asyncio.wait([task])
    del task
    gc.collect()
    text = said.getvalue()
    assert "ERROR asyncio: Task exception was never retrieved: KeyError\n" in text
    assert "in _explode" in text
    assert KEY not in text
    assert PROMPT not in text


async def test_a_callback_that_fails(said: io.StringIO) -> None:
    def fail(what: str) -> None:
        raise ValueError(what)

    asyncio.get_running_loop().call_soon(fail, f"{PROMPT} {KEY}")
    await asyncio.sleep(0)
    text = said.getvalue()
    assert "Exception in callback" in text
    assert "ValueError" in text
    assert KEY not in text
    assert PROMPT not in text


def test_libraries_and_our_own(said: io.StringIO) -> None:
    logging.getLogger("library").warning("cannot read %r: %s", {"a": PROMPT}, KEY)
    logging.getLogger("latimer.test").info("p/m: attempt %d failed (%s)", 1, "[x]")
    try:
        raise OSError(KEY)
    except OSError:
        logging.getLogger("latimer.test").exception("p/m: odd")
    first, second, third, *where = said.getvalue().splitlines()
    assert first == "WARNING library: cannot read"
    assert second == "INFO latimer.test: p/m: attempt 1 failed ([x])"
    assert third == "ERROR latimer.test: p/m: odd: OSError"
    assert "test_discretion.py" in where[0]
    assert KEY not in said.getvalue()
