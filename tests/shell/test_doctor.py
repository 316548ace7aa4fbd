"""`latimer doctor` beside its findings, which tests/doctor has: what it leaves alone, and what it says is in order."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from latimer import launch
from latimer.launch import run_loop
from latimer.policy.claude_code import TESTED_VERSIONS
from latimer.policy.config import parse
from latimer.policy.diagnosis.facts import ConfigFacts
from latimer.policy.diagnosis.finding import Examination
from latimer.shell.doctor import Scope, examine
from tests.doctor import servers
from tests.doctor.world import HEALTH, KEY, KEY_VARIABLE, TOKEN, World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, monkeypatch, stack)


def examined(world: World, scope: Scope | None = None) -> Examination:
    path = str(world.config)
    facts = ConfigFacts(path, parse(world.config.read_text(), path))
    found = run_loop(examine(facts, world.state, scope or Scope()))
    assert KEY not in str(found), "a key is never shown"
    return found


def in_order(found: Examination) -> dict[str, str]:
    return {each.where: each.what for each in found.seen}


def test_what_is_in_order_is_said(world: World) -> None:
    found = examined(world)
    assert found.findings == ()
    assert in_order(found) == {
        "configuration": f"{world.config}: 1 provider, 1 route",
        "keys": f"providers.local.api_key (env:{KEY_VARIABLE})",
        "provider local": f"{world.provider.url}/models answers 200, 2 models",
        "route local/m": "context window of 131072 tokens",
        "server": f"port {world.port} on 127.0.0.1 is free",
        "Claude Code": f"{TESTED_VERSIONS[0]} (Claude Code) at {world.bin}/claude",
    }


def test_nothing_is_changed(world: World) -> None:
    (world.state / "learned.json").write_text("no JSON")
    before = sorted(world.root.rglob("*"))
    assert "learned-unreadable" in [each.id for each in examined(world).findings]
    assert sorted(world.root.rglob("*")) == before


def test_nothing_is_made(world: World) -> None:
    world.state.rmdir()
    before = sorted(world.root.rglob("*"))
    assert examined(world).findings == ()
    assert sorted(world.root.rglob("*")) == before


def test_a_running_latimer_is_recognised(world: World) -> None:
    world.latimer_listens()
    assert in_order(examined(world))["server"].endswith("listens (0123)")


def test_inside_a_latimer_run_its_own_token_is_right(world: World) -> None:
    world.set("LATIMER_TOKEN", TOKEN)
    world.change("server.token", "env:LATIMER_TOKEN")
    world.latimer_listens()
    port = world.reserved_port()
    world.start(servers.saying(HEALTH, port))
    world.set("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{port}")
    world.set("CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST", "1")
    world.write_json(world.settings, {"env": {"ANTHROPIC_BASE_URL": "https://gateway.test"}})
    assert examined(world).findings == ()


def test_a_real_request_and_what_it_cost(world: World) -> None:
    world.change("providers.local.prices", {"input": 1.0, "output": 10.0})
    found = examined(world, Scope(trial=True))
    assert found.findings == ()
    words = next(each.what for each in found.seen if "real request" in each.what)
    assert words.endswith("(200 + 20 tokens, $0.000400)")
    assert [path for path in world.provider.asked if "chat" in path] == ["POST /v1/chat/completions"]


def test_without_prices_the_cost_is_unknown(world: World) -> None:
    assert any("price unknown" in each.what for each in examined(world, Scope(trial=True)).seen)


def test_no_real_request_unless_it_is_allowed(world: World) -> None:
    examined(world)
    assert not [path for path in world.provider.asked if "chat" in path]


def test_without_network_nobody_is_asked(world: World) -> None:
    assert examined(world, Scope(network=False, trial=True)).findings == ()
    assert world.provider.asked == []


def test_without_a_key_nobody_is_asked(world: World) -> None:
    world.unset(KEY_VARIABLE)
    examined(world)
    assert world.provider.asked == []


def test_each_of_several_keys_is_tried(world: World) -> None:
    world.set("SECOND_KEY_OF_MINE", "sk-second-0123456789")
    world.change("providers.local.api_key", [f"env:{KEY_VARIABLE}", "env:SECOND_KEY_OF_MINE", "env:NO_THIRD_KEY"])
    found = [(each.id, each.where) for each in examined(world).findings]
    assert found == [("key-unset", "providers.local.api_key[2]"), ("provider-key", "provider local")]


def test_a_list_of_models_is_not_needed(world: World) -> None:
    world.provider.status = 405
    world.change("providers.local.request", {"context_window": 131072})
    found = examined(world)
    assert found.findings == ()
    assert "only `--try` can tell" in in_order(found)["provider local"]


def test_a_claude_code_that_hangs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "VERSION_SECONDS", 0.2)
    world.program("claude", "exec sleep 30")
    start = time.monotonic()
    (found,) = examined(world).findings
    assert time.monotonic() - start < 15
    assert (found.id, "took more than 0.2 s" in found.what) == ("claude-broken", True)
