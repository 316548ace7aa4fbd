"""What `latimer doctor` says of Claude Code is so: the real client does it, and no longer when the cure is followed."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.doctor import scenarios, servers
from tests.doctor.cures import follow
from tests.doctor.scenarios import Scenario
from tests.doctor.world import World
from tests.interop.claude import NEWEST, binary

SECONDS = 120.0


@dataclass(frozen=True)
class Session:
    """One run of the client: what Latimer was asked, and what was printed."""

    asked: list[servers.Asked]
    output: str

    @property
    def first(self) -> servers.Asked:
        return next(each for each in self.asked if each.method == "POST")

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.first.body)
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, monkeypatch, stack)


def session(world: World, *flags: str) -> Session:
    world.asked.clear()
    done = subprocess.run(
        [binary(NEWEST), *flags, "-p", "hi"],
        cwd=world.project,
        env={**os.environ, "IS_SANDBOX": "1", "DISABLE_AUTOUPDATER": "1", "TMPDIR": str(world.home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Session(list(world.asked), done.stdout + done.stderr)


def proxied(world: World) -> None:
    port = world.reserved_port()
    world.start(servers.saying({}, port))
    world.latimer_listens()
    world.set("HTTPS_PROXY", f"http://127.0.0.1:{port}")


def elsewhere(world: World) -> None:
    port = world.reserved_port()
    world.start(servers.saying({}, port))
    world.latimer_listens()
    world.write_json(world.settings, {"env": {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}"}})


def pinned(world: World) -> None:
    world.latimer_listens()
    scenarios.pinned(world)


def short_prompt(world: World) -> None:
    world.latimer_listens()
    scenarios.short_prompt(world)


def no_tool_search(world: World) -> None:
    world.latimer_listens()
    scenarios.no_tool_search(world)


Says = Callable[[Session], bool]
CASES: tuple[tuple[str, Scenario, Says], ...] = (
    ("loopback-proxied", proxied, lambda seen: not seen.asked),
    ("base-url-elsewhere", elsewhere, lambda seen: not seen.asked),
    ("cloud-chosen", scenarios.bedrock, lambda seen: not seen.asked),
    ("auth-missing", scenarios.not_logged_in, lambda seen: not seen.asked and "Not logged in" in seen.output),
    ("auth-several", scenarios.both, lambda seen: "x-api-key" in seen.first.headers),
    ("auth-helper", scenarios.helper, lambda seen: seen.first.headers.get("x-api-key") == "key"),
    ("auth-account", scenarios.console_login, lambda seen: "x-api-key" in seen.first.headers),
    ("base-url-path", scenarios.with_v1, lambda seen: seen.first.path.startswith("/v1/v1/")),
    ("model-unrouted", pinned, lambda seen: seen.body["model"] == "gpt-x"),
    ("tool-search-off", no_tool_search, lambda seen: "ToolSearch" not in str(seen.body["tools"])),
    ("prompt-lean", short_prompt, lambda seen: len(str(seen.body["system"])) < 10_000),
)


@pytest.mark.parametrize(("check", "scenario", "says"), CASES, ids=[check for check, _, _ in CASES])
def test_the_real_client_does_what_is_said_of_it(world: World, check: str, scenario: Scenario, says: Says) -> None:
    cure = scenario(world)
    assert cure is None
    (found,) = world.examine()
    assert found["id"] == check
    assert says(session(world))
    follow(world, found)
    after = session(world)
    assert after.asked, after.output
    assert not says(after)


def test_the_real_client_assumes_a_million_tokens_unless_it_is_told(world: World) -> None:
    scenarios.untold(world)
    (found,) = world.examine()
    assert found["id"] == "window-untold"
    model = ("--model", "claude-via-local/m")
    assert "assumes a context window of 1m tokens" in session(world, *model).output
    follow(world, found)
    assert "1m tokens" not in session(world, *model).output
