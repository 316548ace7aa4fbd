"""Every finding of `latimer doctor` is caused for real, and cured by doing what it says."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from latimer.policy.diagnosis.checks import CHECKS
from tests.doctor.cures import follow
from tests.doctor.scenarios import SCENARIOS, Scenario, latimer_serve
from tests.doctor.world import TOKEN, World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, monkeypatch, stack)


def test_nothing_is_found_where_all_is_well(world: World) -> None:
    assert world.examine() == []


@pytest.mark.parametrize("token", [False, True])
@pytest.mark.parametrize("other_window", [131072, 200_000])
def test_latimer_connect_leaves_nothing_to_find(world: World, token: bool, other_window: int) -> None:
    if token:
        world.set("LATIMER_TOKEN", TOKEN)
    world.set("ANTHROPIC_API_KEY", "sk-ant-of-the-user")  # which `connect` takes away
    rules = [{"match": "m", "request": {"context_window": 131072}}]
    world.change("providers.local.models", [*rules, {"match": "other", "request": {"context_window": other_window}}])
    world.change("routes.opus", "local/other")
    world.start(latimer_serve(world))
    world.shell("latimer connect --yes")
    assert ("apiKeyHelper" in json.loads(world.settings.read_text())) == token
    assert [each["id"] for each in world.examine()] == ["traffic-elsewhere"]


def test_latimer_env_leaves_nothing_to_find(world: World) -> None:
    world.set("LATIMER_TOKEN", TOKEN)
    world.change("providers.local.request", {"context_window": 131072})
    world.start(latimer_serve(world))
    for name, value in json.loads(world.shell("latimer env --shell json")).items():
        world.set(name, value)
    assert [each["id"] for each in world.examine()] == ["traffic-elsewhere"]


def test_every_check_has_a_scenario() -> None:
    assert {check for check, _ in SCENARIOS} == set(CHECKS)


@pytest.mark.parametrize(
    ("check", "scenario"), SCENARIOS, ids=[f"{check}-{scenario.__name__}" for check, scenario in SCENARIOS]
)
def test_a_finding_is_cured_by_its_own_advice(world: World, check: str, scenario: Scenario) -> None:
    cure = scenario(world)
    found = world.examine()
    assert [each["id"] for each in found] == [check]
    for each in found:
        if cure is None:
            follow(world, each)
        else:
            cure(each)
    assert world.examine() == []
