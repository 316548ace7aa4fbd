"""What `/status` tells, and how people read it."""

import json
from collections.abc import Sequence

import msgspec
import pytest
from msgspec.structs import replace

import latimer
from latimer.policy.health import CircuitHealth, Health, ProviderHealth
from latimer.shell.instance import Identity, new_record
from latimer.shell.status import Reading, Status, lines
from tests.scenarios.replies import Say, failure
from tests.shell.harness import KEY, KEY_VARIABLE, PROMPT, config_for, gateway, serving, upstream

STATUS = Status(
    service="latimer",
    version="1.0",
    instance="abc",
    pid=17,
    started=1000.0,
    uptime_seconds=90.0,
    config=Reading("c.toml", 1, 1000.0),
    routes={"opus": ("a/large", "b/m"), "default": ("b/m",)},
    destinations={"a/large": "https://a.example/v1", "b/m": "http://127.0.0.1:9/v1"},
    open_requests=0,
    older_requests=0,
    workers=1,
    shutdown_seconds=5.0,
    worker=0,
    connections=(),
    health=Health(()),
)


def text(status: Status, log: str = "") -> Sequence[str]:
    record = new_record(Identity("abc", "s", 17, 1000.0), "http://127.0.0.1:4002", "/etc/c.toml", None, background=True)
    return list(lines(status, replace(record, log=log)))


# --- the answer ---


async def test_the_whole_of_it() -> None:
    async with serving(failure(500, "broken"), Say("Hello")) as (client, script):
        assert (await client.ask()).text == "Hello"
        answer = await client.get("/status")
        told = answer.json
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert (told["service"], told["version"]) == ("latimer", latimer.__version__)
        assert told["instance"] == (await client.get("/health")).json["instance"]
        assert told["routes"] == {"default": ["p0/m"]}
        assert told["destinations"] == {"p0/m": script.url}
        assert (told["open_requests"], told["older_requests"]) == (0, 0)  # but for this one
        assert (told["workers"], told["connections"], told["config"]["number"]) == (1, [], 1)
        assert (told["config"]["source"], told["config"]["error"]) == ("test.toml", "")
        assert 0 <= told["uptime_seconds"] < 60
        provider = told["health"]["providers"][0]
        assert (provider["name"], provider["keys"], provider["answered"]) == ("p0", [f"env:{KEY_VARIABLE}"], 1)
        assert KEY.encode() not in answer.body
        assert PROMPT.encode() not in answer.body
        msgspec.json.decode(answer.body, type=Status)


async def test_who_may_ask() -> None:
    async with upstream() as script, gateway(config_for(script.url, token=f"env:{KEY_VARIABLE}")) as client:
        assert (await client.get("/status")).status == 401
        assert (await client.get("/status", {"x-api-key": KEY})).status == 200
        assert (await client.get("/status", {"x-api-key": KEY, "origin": "https://example.com"})).status == 403
        assert (await client.call("POST", "/status", {"x-api-key": KEY})).status == 405


# --- for people ---


def test_an_idle_server() -> None:
    assert text(STATUS) == [
        "Latimer 1.0 is running at http://127.0.0.1:4002 (process 17, for 1 min 30 s)",
        "configuration: /etc/c.toml",
        "  opus     a/large at https://a.example/v1, then b/m at http://127.0.0.1:9/v1",
        "  default  b/m at http://127.0.0.1:9/v1",
        "open requests: 0",
    ]


def test_a_busy_one() -> None:
    open_circuit = CircuitHealth("env:KEY", "m", "open", "rate limit", 12.4, 3)
    trying = CircuitHealth("", "", "half-open", "connection refused", 0, 1)
    busy = ProviderHealth("b", ("env:KEY",), 2, 1, 2, 100, 40, 3, (open_circuit, trying))
    idle = ProviderHealth("a", (), 0, 0, 0, 100, 0, 0, ())
    reading = Reading("c.toml", 3, 1000.0, "c.toml: nonsense", ("server.port",))
    told = replace(
        STATUS, config=reading, open_requests=3, older_requests=1, workers=1, connections=(2, None), worker=1,
        health=Health((busy, idle)),
    )  # fmt: skip
    assert text(told, log="/l/latimer.log")[1:] == [
        "configuration: /etc/c.toml, read 3 times",
        "  its newest version is not in use: c.toml: nonsense",
        "  server.port counts when Latimer is started again",
        "  opus     a/large at https://a.example/v1, then b/m at http://127.0.0.1:9/v1",
        "  default  b/m at http://127.0.0.1:9/v1",
        "open requests: 3, 1 of them by an older configuration",
        "workers: 1 of 2; what follows is of worker 1",
        "b: 40 answered, 3 failed, 2 of 2 under way, 1 queued",
        "  m env:KEY: open after 3 failures (rate limit), asked again in 12 s",
        "  all of it: half-open after 1 failure (connection refused)",
        "a: 0 answered, 0 failed, 0 under way",
        "log: /l/latimer.log",
    ]
    assert json.loads(msgspec.json.encode(told))["health"]["providers"][0]["circuits"][0]["seconds_left"] == 12.4


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3660, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_durations(seconds: float, said: str) -> None:
    assert f"for {said})" in text(replace(STATUS, uptime_seconds=seconds))[0]
