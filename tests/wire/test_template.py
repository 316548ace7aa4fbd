"""Events that differ in one string only."""

import pytest
from hypothesis import given
from msgspec import json

from latimer.wire.json_text import UNREADABLE
from latimer.wire.template import Template, learn
from tests import strategies

EVENT = b'{"model":"m","said":"%b","n":1}'


def said(event: bytes) -> str | None:
    try:
        value = json.decode(event, type=dict[str, str | int])["said"]
    except UNREADABLE:
        return None
    return value if isinstance(value, str) else None


TEMPLATE = Template(b'{"model":"m","said":"', b'","n":1}')


def test_it_is_learned_from_one_event() -> None:
    assert learn(EVENT % b"word", "word", said) == TEMPLATE


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (b'{"said":"m","model":"m"}', "m"),  # the last one that looks like it is another's
        (b'{"said":"a","twice":"a","said":"\\u0061"}', "a"),
        (EVENT % b"\\n", "\n"),
        (EVENT % b"\\u0061", "a"),
        (b'{"said":1}', "1"),
    ],
)
def test_nothing_is_learned_where_the_place_is_not_certain(event: bytes, text: str) -> None:
    assert learn(event, text, said) is None


@pytest.mark.parametrize(
    "event",
    [
        EVENT % b"",
        EVENT % b"a\\n",
        EVENT % b'a","b":"c',
        EVENT % b"a\n",
        EVENT % b"\xff",
        EVENT % b"\xed\xa0\x80",  # half of a character outside the basic plane
        b'{"model":"n","said":"a","n":1}',
        b'{"model":"m","said":"a","n":2}',
        b'{"model":"m","said":"a","n":1}}',
        b'{"model":"m","said":","n":1}',
    ],
)
def test_what_has_to_be_read(event: bytes) -> None:
    assert TEMPLATE.text(event) is None


@given(strategies.TEXTS)
def test_what_it_finds_is_what_is_read(text: str) -> None:
    event = b'{"model":"m","said":%b,"n":1}' % json.encode(text)
    assert TEMPLATE.fits(event)
    assert TEMPLATE.text(event) in (None, said(event))
    if text.isalnum():
        assert TEMPLATE.text(event) == text
