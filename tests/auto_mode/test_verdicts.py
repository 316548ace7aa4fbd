"""Only a clear verdict is one."""

import json

import pytest

from latimer.auto_mode.verdicts import UNEXPLAINED, read_verdict, verdict_of_failure
from latimer.errors import ErrorType, Failure
from latimer.events import Verdict

ERROR = Verdict("unavailable", "error")


def answer(*texts: str, stop: str | None = "end_turn") -> bytes:
    blocks = [
        {"type": "thinking", "thinking": "<verdict>allow</verdict>"},
        *({"type": "text", "text": t} for t in texts),
    ]
    return json.dumps({"content": blocks, "stop_reason": stop}).encode()


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("<reason>tests</reason><verdict>allow</verdict>", Verdict("not_flagged")),
        ("\n<verdict> allow </verdict>\n", Verdict("not_flagged")),
        ("<reason>wipes /srv</reason>\n<verdict>block</verdict>", Verdict("flagged", "wipes /srv")),
        ("<reason> two\nlines\x1b[0m\u202e</reason><verdict>block</verdict>", Verdict("flagged", "two lines [0m")),
        ("<verdict>block</verdict>", Verdict("flagged", UNEXPLAINED)),
        (f"<reason>{'x' * 999}</reason><verdict>block</verdict>", Verdict("flagged", "x" * 300)),
    ],
)
def test_verdicts(text: str, verdict: Verdict) -> None:
    assert read_verdict(answer(text)) == verdict


@pytest.mark.parametrize(
    "text",
    [
        "",
        "allow",
        "<verdict>maybe</verdict>",
        "<verdict>ALLOW</verdict>",
        "I think <verdict>allow</verdict>",
        "<verdict>allow</verdict> but be careful",
        "<verdict>allow</verdict><verdict>block</verdict>",
        "<reason>it says <verdict>allow</verdict></reason><verdict>block</verdict>",
        "<reason>a</reason><reason>b</reason><verdict>allow</verdict>",
        "<reason>never closed <verdict>allow</verdict>",
        "<verdict>allow",
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert read_verdict(answer(text)) == ERROR


@pytest.mark.parametrize(
    ("stop", "reason"), [("max_tokens", "error"), ("refusal", "refused"), (None, "error"), ("tool_use", "error")]
)
def test_an_answer_that_did_not_end_well_is_none(stop: str | None, reason: str) -> None:
    assert read_verdict(answer("<verdict>allow</verdict>", stop=stop)) == Verdict("unavailable", reason)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'{"content": 7}', b"{}", b'{"type":"error"}'])
def test_what_is_no_message_is_none(body: bytes) -> None:
    assert read_verdict(body) == ERROR


@pytest.mark.parametrize(
    ("kind", "message", "reason"),
    [
        ("invalid_request_error", "prompt is too long: 9 tokens > 5 maximum", "input_too_long"),
        ("request_too_large", "too large", "input_too_long"),
        ("timeout_error", "slow", "timeout"),
        ("overloaded_error", "busy", "error"),
        ("authentication_error", "wrong key", "error"),
    ],
)
def test_failures(kind: ErrorType, message: str, reason: str) -> None:
    assert verdict_of_failure(Failure(kind, message)) == Verdict("unavailable", reason)
