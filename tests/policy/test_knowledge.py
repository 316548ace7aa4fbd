"""Findings: their difference, order, end, and form as JSON."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from latimer.policy import knowledge
from latimer.policy.config import Config, Provider, parse
from latimer.policy.knowledge import (
    LIFETIMES,
    Finding,
    Knowledge,
    RouteKey,
    Source,
    decode,
    difference,
    encode,
    key_of,
    overlays,
)
from latimer.policy.lessons import lesson
from latimer.policy.presets import Overlay
from latimer.policy.profiles import resolve
from latimer.policy.tables import merge
from latimer.profile import MediaRules, Profile, RequestRules
from tests.policy.test_lessons import FIELDS, PLAIN, SENT, WORDS

KEY = RouteKey("local", "http://127.0.0.1:1/v1", "m")
LESSONS = [row[:3] for row in FIELDS] + [(status, message, "") for status, message, _ in WORDS]
OTHER = RouteKey("local", "http://127.0.0.1:2/v1", "m")
NOW = 1_800_000_000


def finding(overlay: Overlay, why: str = "because", source: Source = "refusal", at: int = NOW) -> Finding:
    return Finding(overlay, why, source, at)


def dropping(*names: str) -> Overlay:
    return {"request": {"drop": list(names)}}


def learned(*found: Finding, key: RouteKey = KEY) -> Knowledge:
    known = Knowledge()
    for one in found:
        known = known.having(key, one)
    return known


# --- differences ---


def test_a_difference_is_what_changed_and_no_more() -> None:
    after = replace(Profile(), request=RequestRules(drop=frozenset("ba")), media=MediaRules(images=False))
    overlay = difference(Profile(), after)
    assert overlay == {"request": {"drop": ["a", "b"]}, "media": {"images": False}}
    assert json.loads(json.dumps(overlay)) == overlay
    assert difference(after, after) == {}


@pytest.mark.parametrize(("status", "message", "param"), LESSONS, ids=[row[1][:50] for row in LESSONS])
def test_every_lesson_is_its_difference(status: int, message: str, param: str) -> None:
    taught = lesson(status, message, param, SENT, PLAIN)
    assert taught is not None
    overlay = difference(PLAIN, taught[0])
    assert msgspec.convert(merge(msgspec.to_builtins(PLAIN), overlay), Profile) == taught[0]
    known = decode(encode(learned(finding(overlay))))
    assert known.overlay(KEY) == overlay, "another process can take it over"


def test_the_users_words_lie_over_what_was_learned() -> None:
    user = Provider("p", "https://h/v1", rules={"request": {"max_output": 7}})
    overlay = {"request": {"max_output": 9, "top_k": True}}
    assert resolve(user, "m", overlay).request == RequestRules(max_output=7, top_k=True)


# --- order ---


def test_a_later_finding_wins_and_replaces_what_it_contradicts() -> None:
    first = finding({"request": {"max_output": 9, "top_k": False}}, "first")
    second = finding({"request": {"max_output": 5}}, "second", at=NOW + 1)
    known = learned(first, second)
    assert known.overlay(KEY) == {"request": {"max_output": 5, "top_k": False}}
    assert [one.fields for one in known.routes[KEY]] == [["request.top_k"], ["request.max_output"]]
    third = finding({"request": {"max_output": 5, "top_k": True}}, "third")
    assert known.having(KEY, third).routes[KEY] == (third,)


def test_a_list_that_grew_keeps_the_earlier_reason() -> None:
    known = learned(finding(dropping("a"), "no a"), finding(dropping("a", "b"), "no b"))
    assert known.overlay(KEY) == dropping("a", "b")
    assert [one.why for one in known.routes[KEY]] == ["no a", "no b"]
    assert learned(finding(dropping("a")), finding(dropping("b"), "no b")).overlay(KEY) == dropping("b")


def test_the_same_again_is_one_finding_with_the_newer_date() -> None:
    again = finding(dropping("a"), at=NOW + 5)
    assert learned(finding(dropping("a")), again).routes[KEY] == (again,)


def test_two_upstreams_of_one_name_are_two() -> None:
    known = learned(finding(dropping("a")), key=OTHER)
    config = parse('[providers.local]\nbase_url = "http://127.0.0.1:1/v1"\n[routes]\ndefault = "local/m"', "x")
    assert key_of(config.providers["local"], "m") == KEY
    assert overlays(config, known) == {}
    assert overlays(config, known.having(KEY, finding(dropping("b")))) == {"local/m": dropping("b")}
    elsewhere = Config(config.server, {}, {}, config.retry, "x")
    assert overlays(elsewhere, learned(finding(dropping("b")))) == {}


def test_one_knowledge_over_another() -> None:
    below = learned(finding({"request": {"max_output": 9, "top_k": True}}))
    above = learned(finding({"request": {"max_output": 5}})).having(OTHER, finding(dropping("a")))
    assert above.over(below).overlay(KEY) == {"request": {"max_output": 5, "top_k": True}}
    assert above.over(below).overlay(OTHER) == dropping("a")


# --- their end ---


@pytest.mark.parametrize(("source", "days"), [("refusal", 30), ("probe", 30), ("engine", 1)])
def test_each_source_has_its_time(source: Source, days: int) -> None:
    one = finding(dropping("a"), source=source)
    known = learned(one)
    end = NOW + days * 24 * 3600
    assert one.expires_at == end == NOW + LIFETIMES[source]
    assert known.alive(end - 1) is known
    assert known.alive(end) == Knowledge()


def test_only_what_is_old_ends() -> None:
    known = learned(finding(dropping("a")), finding({"media": {"images": False}}, at=NOW + 100))
    assert known.alive(NOW + LIFETIMES["refusal"]).overlay(KEY) == {"media": {"images": False}}


@pytest.mark.parametrize(
    ("name", "left"), [("", 0), ("local", 0), ("local/m", 0), ("local/other", 2), ("loc", 2), ("m", 2)]
)
def test_forgetting(name: str, left: int) -> None:
    known = learned(finding(dropping("a"))).having(OTHER, finding(dropping("b")))
    assert len(known.forgetting(name).routes) == left


def test_the_number_of_routes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knowledge, "MOST_ROUTES", 3)
    known = Knowledge()
    for number in range(10):
        known = known.having(RouteKey("p", "u", str(number)), finding(dropping("a"), at=NOW + number))
    assert sorted(key.model for key in known.routes) == ["7", "8", "9"]


def test_the_number_of_findings_is_bounded() -> None:
    found = [finding({"request": {"extra_body": {str(number): 1}}}, at=NOW + number) for number in range(100)]
    found = [replace(one, overlay={"s": {str(number): 1}}) for number, one in enumerate(found)]
    assert len(learned(*found).routes[KEY]) == knowledge.MOST_FINDINGS


# --- JSON ---


def test_json_there_and_back() -> None:
    efforts = {"reasoning": {"efforts": {"none": "none", "max": "high"}}}
    known = learned(finding(dropping("a", "b")), finding(efforts, "words", "probe")).having(
        OTHER, finding(dropping("c"))
    )
    assert decode(encode(known)) == known
    assert encode(decode(encode(known))) == encode(known)


def test_the_text_is_for_people_too() -> None:
    text = encode(learned(finding(dropping("top_k"), "the upstream takes no top_k"))).decode()
    assert text.endswith("\n")
    assert '"why": "the upstream takes no top_k"' in text
    assert '"provider": "local"' in text


def file(*overlays_: Any, version: int = 1) -> bytes:
    found = [{"overlay": each, "why": "w", "source": "refusal", "learned_at": NOW} for each in overlays_]
    route = {"provider": "local", "base_url": "http://127.0.0.1:1/v1", "model": "m", "findings": found}
    return json.dumps({"version": version, "routes": [route]}).encode()


@pytest.mark.parametrize("overlay", [{}, {"request": {"no": 1}}, {"no": {}}, {"request": {"max_output": "x"}}])
def test_rules_that_this_version_does_not_have_are_left_out(overlay: Any) -> None:
    assert decode(file(overlay)) == Knowledge()
    assert decode(file(overlay, dropping("a"))).overlay(KEY) == dropping("a")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b"\xff", b'{"version":2,"routes":[]}', file(5), b'{"version":1,"routes":[{}]}']
)
def test_anything_else_is_no_knowledge(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(decode(text), Knowledge)
