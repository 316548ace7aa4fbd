"""llama.cpp's own /v1/messages beside the same server reached through Latimer: added latency only.

The model generates on the processor that everything else runs on, so CPU time says nothing here. The three ways are
asked in turn, one request at a time, and each is compared with llama.cpp's own chat route in the same turn.
"""

from __future__ import annotations

import http.client
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import proxies
from bench.table import Rows, number, spread
from latimer.local_model import local_model

_TURNS = 40
_BASE = "/v1/chat/completions"
_FIRST = {"messages": b'"text_delta"', "chat": b'"content":"'}  # what the first word of an answer comes in


@dataclass(frozen=True)
class Way:
    """One way to the model: a port of this machine, and the dialect it is asked in."""

    title: str
    port: int
    dialect: str

    def ask(self, model: str) -> tuple[float, float]:
        """Milliseconds to the first word and to the end of a streamed answer of eight tokens."""
        path = _BASE if self.dialect == "chat" else "/v1/messages"
        body: dict[str, Any] = {"model": model, "max_tokens": 8, "temperature": 0, "stream": True}
        body["messages"] = [{"role": "user", "content": "Count from one to ten."}]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        began = time.perf_counter()
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{self.title}: {response.status} {response.read(500)!r}")
        first = 0.0
        while line := response.readline():
            if not first and _FIRST[self.dialect] in line:
                first = time.perf_counter() - began
        whole = time.perf_counter() - began
        connection.close()
        if not first:
            raise RuntimeError(f"{self.title}: an answer without a word")
        return first * 1e3, whole * 1e3


def lines(turns: int = _TURNS) -> Rows:
    """A row a way: its medians, and what it adds to llama.cpp's own chat route, turn by turn."""
    with tempfile.TemporaryDirectory(prefix="latimer-bench-") as home, local_model() as model:
        own_port = urlsplit(model.base_url).port
        assert own_port
        latimer = proxies.latimer_serving(Path(home), model.base_url, model.model)
        try:
            ways = [
                Way("llama.cpp /v1/chat/completions", own_port, "chat"),
                Way("llama.cpp /v1/messages", own_port, "messages"),
                Way("Latimer /v1/messages, on its chat route", latimer.port, "messages"),
            ]
            for way in ways:
                way.ask(model.model)
            taken = [[way.ask(model.model) for way in ways] for _ in range(turns)]
        finally:
            latimer.stop()
    return _rows(ways, taken)


def _rows(ways: list[Way], taken: list[list[tuple[float, float]]]) -> Rows:
    found = [["way", "first word, ms", "whole answer, ms", "added to the first word", "added to the whole"]]
    for place, way in enumerate(ways):
        first, whole = ([turn[place][which] for turn in taken] for which in (0, 1))
        added = [[turn[place][which] - turn[0][which] for turn in taken] for which in (0, 1)]
        extra = [quartiles(values) for values in added] if place else ["", ""]
        found.append([way.title, spread(first), spread(whole), *extra])
    return found


def quartiles(values: list[float]) -> str:
    """The median, and the middle half behind it: single turns on a shared machine are worth little."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{number(middle)} (half of them {number(low)} to {number(high)})"
