"""Signals to a process with a loop: the first stops it, a second one hurries, SIGHUP reads again or is a hang-up."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from latimer.shell.signals import Signals, heard

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")


async def test_the_second_one_hurries() -> None:
    signals = Signals()
    signals.stop(130)
    assert signals.stopped.result() == 130
    assert not signals.hurry.is_set()
    signals.stop(0)
    assert signals.stopped.result() == 130
    assert signals.hurry.is_set()


async def test_the_parents_word_does_not_count_as_the_first() -> None:
    """A service manager signals parent and workers at once, in any order."""
    signals = Signals()
    signals.end(0)
    signals.stop(130)
    assert signals.stopped.result() == 0
    assert not signals.hurry.is_set()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_exit_codes(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with heard() as signals:
        os.kill(os.getpid(), number)
        assert await asyncio.wait_for(signals.stopped, 5) == code
    assert signal.getsignal(number) == before


async def test_hang_up_without_a_terminal_reads_again() -> None:
    with heard() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(signals.reload.wait(), 5)
        assert not signals.stopped.done()


SCRIPT = """
import asyncio, os, sys
from latimer.shell.signals import heard

async def work():
    with heard() as signals:
        os.write(1, b"ready\\n")
        reload = asyncio.create_task(signals.reload.wait())
        await asyncio.wait([reload, signals.stopped], return_when=asyncio.FIRST_COMPLETED)
        with open(sys.argv[1], "w") as file:
            file.write("reload" if reload.done() else f"stop {signals.stopped.result()}")
        reload.cancel()

asyncio.run(work())
"""


class OnTerminal:
    """The script on a terminal of its own."""

    def __init__(self, said: Path, ignored: bool) -> None:
        import pty  # noqa: PLC0415 - not on Windows

        program = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{SCRIPT}" if ignored else SCRIPT
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, "-c", program, str(said)])
        output = b""
        while b"ready\r\n" not in output:
            output += os.read(self._file, 4096)

    def close(self) -> None:
        os.close(self._file)

    def exit_code(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_signal_on_a_terminal_reads_again(tmp_path: Path) -> None:
    program = OnTerminal(tmp_path / "said", ignored=False)
    os.kill(program.pid, signal.SIGHUP)
    assert program.exit_code() == 0
    program.close()
    assert (tmp_path / "said").read_text() == "reload"


@pytest.mark.parametrize(("ignored", "said"), [(False, "stop 0"), (True, "reload")], ids=["as usual", "nohup"])
def test_a_terminal_that_is_closed(tmp_path: Path, ignored: bool, said: str) -> None:
    program = OnTerminal(tmp_path / "said", ignored)
    program.close()
    assert program.exit_code() == 0
    assert (tmp_path / "said").read_text() == said


def test_what_the_process_did_not_start_with_is_put_back() -> None:
    code = (
        "import asyncio, signal\nfrom latimer.shell.signals import heard\n"
        "async def work():\n    with heard(): pass\n"
        "asyncio.run(work())\nprint(signal.getsignal(signal.SIGHUP) == signal.SIG_DFL)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "True\n"
