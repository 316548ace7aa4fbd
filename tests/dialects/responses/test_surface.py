"""The table of what becomes of a Responses answer: complete by the official SDK's types, and true by what happens."""

import json
import re
from pathlib import Path
from typing import Any

import openai
import pytest

from latimer.answer import Answer
from latimer.dialects.messages.encoder import Heading, WholeEncoder, encode_failure
from latimer.dialects.responses.response import ResponseDecoder
from latimer.dialects.responses.surface.answer import FROM_UPSTREAM
from latimer.dialects.surface import find
from latimer.report import Loss
from tests.case_runner import CASES
from tests.reading import READER
from tests.sdk_surface import MARK, leaves_of

Json = dict[str, Any]
ROOT = Path(__file__).parent.parent.parent.parent
OF_THE_REQUEST = frozenset(
    {
        "access_programs",
        "conversation",
        "image",
        "instructions",
        "metadata",
        "prompt",
        "prompt_cache_options",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "input_transformations",
        "moderation",
        "prompt_cache_diagnostics",
        "tool_usage",
    }
)
"""Fields whose inside is not the answer's: what becomes of it becomes of all of it."""
LEAVES = leaves_of(openai.types.responses.Response, OF_THE_REQUEST)
ITEMS: dict[str, Json] = {
    "message": {"id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]},
    "reasoning": {"id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
    "function_call": {"id": "fc_1", "call_id": "call_1", "name": "Bash", "arguments": "{}"},
    "custom_tool_call": {"id": "ctc_1", "call_id": "call_1", "name": "Bash", "input": "ls"},
}


def owner(name: str) -> str:
    return ".".join(re.split(r"[.=]", name)[:2])


@pytest.mark.parametrize("part", sorted({owner(name) for name in LEAVES}))
def test_each_part_of_an_upstreams_answer(part: str) -> None:
    for name, partial in LEAVES.items():
        if owner(name) != part:
            continue
        row = find(FROM_UPSTREAM, name)
        assert row is not None, f"{name} has no row"
        assert row.action in heard(partial), name


def heard(partial: Json) -> set[str]:
    """What becomes of a part of an upstream's answer, put into one that is whole without it."""
    plain, body = answers(partial)
    (before, _), (message, losses) = told(plain), told(body)
    if message["type"] == "error":
        return {"rejected"}
    if losses:
        return {loss.action for loss in losses}
    return {"met"} if message == before and MARK not in json.dumps(message) else {"carried"}


def answers(partial: Json) -> tuple[Json, Json]:
    """The same answer without the part and with it, and with the status that goes with it."""
    usage = {"input_tokens": 50, "output_tokens": 40, "total_tokens": 90}
    plain: Json = {"id": "resp_1", "model": "m", "status": "completed", "output": [item("message")], "usage": usage}
    if "output" in partial:
        given = partial["output"][0]
        plain["output"] = [item(given.get("type", ""))]
        if given.get("content", [{}])[0].get("type") == "refusal":
            plain["output"][0]["content"] = [{"type": "refusal", "refusal": "No."}]
    body = merged(plain, partial)
    if "incomplete_details" in partial:
        body["status"] = "incomplete"
    if "error" in partial:
        body["status"] = "failed"
    return plain, body


def item(kind: str) -> Json:
    return {"type": kind, "id": "i"} | ITEMS.get(kind, {})


def merged(plain: Any, partial: Any) -> Any:
    if isinstance(plain, dict) and isinstance(partial, dict):
        return plain | {name: merged(plain.get(name), value) for name, value in partial.items()}
    if isinstance(plain, list) and plain and isinstance(partial, list) and isinstance(partial[0], dict):
        same = plain[0].get("type") == partial[0].get("type")
        return [merged(plain[0], partial[0]) if same else partial[0], *plain[1:]]
    return partial


def told(body: Json) -> tuple[Json, tuple[Loss, ...]]:
    answer = Answer(ResponseDecoder(READER), [], WholeEncoder(Heading("msg_1", "claude", "req_1")))
    out = answer.feed(json.dumps(body).encode()) + answer.end()
    failed = encode_failure(answer.failure, "req_1") if answer.failure else {}
    return (failed or json.loads(out)), answer.losses


def test_each_row_is_about_something_and_names_its_test() -> None:
    for row in FROM_UPSTREAM:
        assert any(row.covers(name) for name in LEAVES), row.field
        path, _, name = row.shown.partition("::")
        if path.startswith("tests/"):
            assert f"def {name}(" in (ROOT / path).read_text(), row.shown
        else:
            assert (CASES / "responses" / path).is_dir(), row.shown
