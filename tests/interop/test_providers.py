"""The real Claude Code through every preset and each of its dialects, on servers that enforce the providers' rules.

The servers are described in tests/providers; each refuses what the provider is known to refuse, and streams as it does.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from latimer.policy.presets import presets
from tests.interop.claude import NEWEST, TOKEN, ClaudeCode
from tests.interop.session import Session
from tests.interop.tap import Tap
from tests.latimer_process import serving
from tests.providers.engine import KEY, Door, Server, servers
from tests.scenarios import coding, files
from tests.scenarios.turns import grows
from tests.upstream import Exchange, Upstream, conversation

# A refusal is what the test is about: the client's own retries would only repeat it.
NO_RETRIES = {"CLAUDE_CODE_MAX_RETRIES": "0"}
URLS = {"chat": "base_url", "responses": "responses_url", "messages": "messages_url"}
CASES = [
    pytest.param(server, server.doors[dialect], id=f"{name}-{dialect}")
    for name, server in servers().items()
    if name in presets()
    for dialect in presets()[name].addresses["default"].dialects
    if dialect in server.doors
]

EXPECTED: Mapping[str, Mapping[str, str]] = {
    "everywhere": {
        "metadata.user_id": "",
        "system.*.cache_control": "",
        "messages.*.content.*.cache_control": "",
        "messages.*.role": "marked user text",
        "thinking.display": "",
        "tools.*.defer_loading": "hidden until",
        "output_config.effort": "",
        "messages.*.output_config.effort": "",
        "max_tokens": "more than this model gives",
        "messages.*.content.*.content.*": "takes no images",
        "tools.*.input_schema": "does not take",
        "messages.*.content.*": "takes no reasoning of earlier turns",
    },
    "chat": {"messages": "the assistant says a word"},
    "responses": {},
    "messages": {"anthropic-beta": "is not asked for", "thinking.type": "adaptive becomes enabled"},
}
"""Losses that presets may have in a dialect, and words of the reason that they must give."""
LEARNS = {("openai", "chat"): "to 'none'"}
"""Where the user's own dialect is not the model's, one refusal teaches what it takes there."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


def configuration(server: Server, model: str, port: int, dialect: str = "") -> str:
    """What a user would write, with this machine for the provider's host; '' leaves the dialect to the preset."""
    lines = ["[providers.tested]", f'preset = "{server.name}"']
    lines += [f'dialect = "{dialect}"'] if dialect else []
    lines += [f'{URLS[door.dialect]} = "http://127.0.0.1:{port}{door.root}"' for door in server.doors.values()]
    lines += ['api_key = "env:PROVIDER_KEY"'] if server.key != "none" else []
    lines += [f'headers."{name}" = "{value}"' for name, value in server.user_headers.items()]
    return "\n".join([*lines, "[routes]", f'default = "tested/{model}"', ""])


def work(upstream: Upstream, config: str, folder: Path, learns: str = "") -> list[dict[str, str]]:
    """Let Claude Code do a piece of work through a Latimer with this configuration. Gives the losses it reported."""
    path = folder / "latimer.toml"
    path.write_text(config)
    with (
        serving(["--config", str(path), "--port", "0"], home=folder, environment={"PROVIDER_KEY": KEY}) as gateway,
        Tap(gateway.url) as tap,
    ):
        claude = ClaudeCode(NEWEST, folder / "home", tap.url, NO_RETRIES)
        (claude.project / "notes.txt").write_text("There are forty-one violins.\n")
        (claude.project / "red.png").write_bytes(files.png())
        upstream.play(coding.working(claude.project), host=upstream.host)
        with Session(claude) as session:
            answers = [session.ask("correct the notes"), session.ask("thanks")]
    assert len(upstream.refused) == bool(learns), upstream.refused
    assert all(learns in refusal for refusal in upstream.refused)
    assert upstream.failures == []
    assert answers == ["In the end: There are forty-two violins.", "You are welcome."]
    assert len(upstream.served) == 6, "as many requests as the model has turns, and none of them twice"
    assert upstream.last.rounds == 4
    assert any("broken" in result for result in upstream.last.results), conversation(upstream.last)
    assert all(TOKEN not in str(exchange.headers) for exchange in upstream.exchanges)
    return tap.losses


@pytest.mark.parametrize(("server", "door"), CASES)
def test_a_piece_of_work(upstream: Upstream, server: Server, door: Door, tmp_path: Path) -> None:
    upstream.play([], host=server.serving(door.dialect))
    config = configuration(server, door.model, upstream.port, door.dialect)
    learns = LEARNS.get((server.name, door.dialect), "")
    losses = work(upstream, config, tmp_path, learns)
    assert lost_thoughts(upstream.last, door) == []
    if door.dialect != "messages":  # where the client's own bytes pass, it is the client that keeps its prefix
        assert list(grows(door.dialect, [exchange.body for exchange in upstream.served])) == []
    expected = (
        {"metadata.user_id": "as a hash"} if door.lossless else {**EXPECTED["everywhere"], **EXPECTED[door.dialect]}
    )
    lost = [loss for loss in losses if expected.get(loss["field"], "?") not in loss["why"]]
    assert not lost or learns


@pytest.mark.parametrize("server", [pytest.param(server, id=name) for name, server in servers().items()])
def test_the_dialect_that_the_preset_chooses(upstream: Upstream, server: Server, tmp_path: Path) -> None:
    upstream.play([], host=server)
    work(upstream, configuration(server, server.model, upstream.port), tmp_path)
    assert len({exchange.dialect for exchange in upstream.exchanges}) == 1


def lost_thoughts(exchange: Exchange, door: Door) -> list[str]:
    """What the model thought before, and did not hear again; and what it heard as its thoughts, but never had."""
    if not door.returns:
        return []
    heard = {turn.reasoning for turn in exchange.turns if turn.reasoning is not None}
    had = {say.reasoning for say in exchange.ledger.replies[:-1] if say.reasoning}
    return sorted(had ^ heard)
