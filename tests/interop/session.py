"""A conversation with the real Claude Code in one process: prompts go in as they are wanted, and Esc can be pressed.

`--input-format stream-json` is how the Agent SDK drives the client. Its `interrupt` leaves the same history as Esc on
the interactive screen (compared with 2.1.330): the results of calls that have ended, a refusal for the one that was
running, and the text "[Request interrupted by user for tool use]".
"""

import json
import os
import queue
import signal
import subprocess
import threading
import time
from contextlib import suppress
from typing import Any, Self

from msgspec import Raw
from msgspec import json as typed

from tests.interop.claude import SKIP_PERMISSIONS, ClaudeCode, binary
from tests.upstream import Exchange

Json = dict[str, Any]
PATIENCE = 40.0
STREAMS = (
    "--input-format",
    "stream-json",
    "--output-format",
    "stream-json",
    "--verbose",
    "--include-partial-messages",
)


class Session:
    """One running client. `more` continues the last conversation of the project."""

    def __init__(self, claude: ClaudeCode, *flags: str, more: bool = False) -> None:
        command = [str(binary(claude.version)), "--model", "sonnet", *STREAMS, *SKIP_PERMISSIONS, *flags, "-p"]
        self.seen: list[Json] = []
        self._events: queue.Queue[Json | None] = queue.Queue()
        self._process = subprocess.Popen(
            [*command, "-c"] if more else command,
            cwd=claude.project,
            env=claude.variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._input = self._process.stdin
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self._input.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join(PATIENCE)

    def say(self, prompt: str) -> None:
        """Send the user's words."""
        self._send({"type": "user", "message": {"role": "user", "content": prompt}})

    def ask(self, prompt: str) -> str:
        """Send the user's words and wait for the answer."""
        self.say(prompt)
        return self.answer()

    def answer(self) -> str:
        """Wait for the end of the turn."""
        return str(self.until("result").get("result", ""))

    def escape(self) -> None:
        """Press Esc, and wait until the turn has ended."""
        self._send({"type": "control_request", "request_id": "esc", "request": {"subtype": "interrupt"}})
        self.until("result")

    def kill(self) -> None:
        """The machine loses its power."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def until(self, kind: str, word: str = "") -> Json:
        """The next event of a kind that has this word in it."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                event = self._events.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {kind!r} event in {PATIENCE:.0f} s, after {self.seen[-3:]}") from None
            if event is None:
                raise AssertionError(f"the client ended before a {kind!r} event, after {self.seen[-3:]}")
            self.seen.append(event)
            if event.get("type") == kind and word in json.dumps(event):
                return event

    def _send(self, message: Json) -> None:
        self._input.write(json.dumps(message) + "\n")
        self._input.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._events.put(json.loads(line))
        self._events.put(None)


def parts(exchange: Exchange, name: str) -> list[bytes]:
    """The entries of a list in the upstream's body, byte for byte."""
    body = typed.decode(exchange.raw, type=dict[str, Raw])
    return [bytes(entry) for entry in typed.decode(body[name], type=list[Raw])]


def rewritten(before: Exchange, after: Exchange) -> str:
    """What of a request is not the beginning of the next one, '' when a prompt cache holds."""
    for name in ("tools", "messages"):
        earlier, later = parts(before, name), parts(after, name)
        for place, entry in enumerate(earlier):
            if later[place : place + 1] != [entry]:
                now = later[place].decode()[:300] if place < len(later) else "nothing"
                return f"request {after.number}: {name}.{place} was {entry.decode()[:300]}, is {now}"
    return ""
