"""The classifier's answer, read strictly: whatever is not clearly a verdict is none."""

from __future__ import annotations

import re

from msgspec import Struct, field, json

from latimer.errors import Failure
from latimer.events import Verdict
from latimer.wire.json_text import UNREADABLE

MOST_EXPLANATION = 300
UNEXPLAINED = "the classifier gave no reason"

_VERDICT = re.compile(
    r"\s*(?:<reason>(?P<reason>(?:(?!</?reason>|</?verdict>).)*)</reason>\s*)?"
    r"<verdict>\s*(?P<verdict>allow|block)\s*</verdict>\s*",
    re.DOTALL,
)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


class _Block(Struct):
    type: str
    text: str = ""


class _Answer(Struct):
    content: list[_Block] = field(default_factory=list)
    stop_reason: str | None = None


_answer: json.Decoder[_Answer] = json.Decoder(_Answer)


def read_verdict(body: bytes) -> Verdict:
    """The verdict in a whole Messages answer."""
    try:
        answer = _answer.decode(body)
    except UNREADABLE:
        return Verdict("unavailable", "error")
    if answer.stop_reason == "refusal":
        return Verdict("unavailable", "refused")
    text = "".join(block.text for block in answer.content if block.type == "text")
    found = _VERDICT.fullmatch(text)
    if answer.stop_reason not in ("end_turn", "stop_sequence") or found is None:
        return Verdict("unavailable", "error")
    if found["verdict"] == "allow":
        return Verdict("not_flagged")
    return Verdict("flagged", _explanation(found["reason"] or ""))


def verdict_of_failure(failure: Failure) -> Verdict:
    """Why the classifier's upstream gave no verdict."""
    if failure.type == "request_too_large" or failure.message.startswith("prompt is too long"):
        return Verdict("unavailable", "input_too_long")
    return Verdict("unavailable", "timeout" if failure.type == "timeout_error" else "error")


def _explanation(text: str) -> str:
    """One line for the user and for the model whose call was flagged."""
    line = " ".join(_UNPRINTABLE.sub(" ", text).split())
    return line[:MOST_EXPLANATION] or UNEXPLAINED
