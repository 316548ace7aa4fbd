"""Whose thinking is whose."""

import json

from latimer.dialects.messages.request import Request, decode_request
from latimer.policy import signatures
from latimer.policy.signatures import Signatures


def conversation(*signed: str) -> Request:
    thinking = [{"type": "thinking", "thinking": "hm", "signature": one} for one in signed]
    turns = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [*thinking, {"type": "text", "text": "done"}]},
        {"role": "user", "content": "on"},
    ]
    return decode_request(json.dumps({"model": "m", "max_tokens": 9, "messages": turns}).encode())


def test_what_another_route_signed_is_foreign() -> None:
    known = Signatures()
    assert known.foreign(conversation("a", "b"), "p/m") == frozenset()
    known.remember(["a"], "p/m")
    known.remember(["b"], "q/m")
    assert known.foreign(conversation("a", "b", "c"), "p/m") == {"b"}
    assert known.foreign(conversation("a", "b", "c"), "q/m") == {"a"}
    assert known.foreign(conversation("c"), "q/m") == frozenset()


def test_the_oldest_is_forgotten(monkeypatch) -> None:  # type: ignore[no-untyped-def]  # pytest's own
    monkeypatch.setattr(signatures, "MOST", 2)
    known = Signatures()
    known.remember(["a", "b", "c"], "p/m")
    assert known.foreign(conversation("a", "b", "c"), "q/m") == {"b", "c"}
