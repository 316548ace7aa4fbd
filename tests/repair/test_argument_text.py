"""Arguments of one call: what is valid passes byte for byte, what is not becomes what it can only mean, or nothing."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.repair import argument_text as kinds
from latimer.repair.argument_text import ArgumentText
from latimer.repair.malformed import Malformed
from latimer.repair.schema import Parameters
from latimer.wire.json_text import unparsed_input
from tests import strategies

TODO = {"type": "object", "properties": {"text": {"type": "string"}, "n": {"type": "integer"}}, "required": ["text"]}
BASH = {
    "type": "object",
    "properties": {
        "command": {"type": "string"},
        "timeout": {"type": "integer"},
        "flag": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "todos": {"type": "array", "items": TODO},
        "opts": {"type": "object"},
        "pages": {"type": "string"},
        "ratio": {"type": "number"},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["command"],
}
WRITE = {
    "type": "object",
    "properties": {
        "file_path": {"type": "string"},
        "content": {"type": "string"},
        "mode": {"type": "string", "default": "w"},
    },
    "required": ["file_path", "content"],
}
DEFAULTED = {**WRITE, "required": ["file_path", "content", "mode"]}
LISTING = {"type": "object", "properties": {"items": {"type": "array"}}, "required": ["items"]}


def read(text: str, schema: Any, size: int = 0) -> tuple[str | None, list[str]]:
    """What goes out, None if it is hopeless; and which repairs there were."""
    arguments = ArgumentText(Parameters(schema))
    pieces = [text[at : at + size] for at in range(0, len(text), size)] if size else [text]
    out = "".join([arguments.feed(piece) for piece in pieces])
    try:
        return out + arguments.finish(), arguments.kinds
    except Malformed:
        return None, arguments.kinds


VALID = [
    "{}",
    '{"command":"ls"}',
    '{ "command" : "l\\ns \\"x\\" \\\\d" ,\n"timeout" : 5 }\n',
    '{"command":"[1]","tags":[],"todos":[{"text":"a","n":1}],"ratio":1.50,"maybe":null}',
    '{"command":"5","flag":false,"opts":{"a":{"b":[1,2]}}}',
    '{"command":"{\\"a\\":1}","unknown":{"x":12345678901234567890123}}',
    '{"command":"true","timeout":5.0,"maybe":7}',
    '{"command":"a\\u00e9\\ud83d\\ude00b","pages":"1-3"}',
    '{"command":"","tags":[""]}',
    '{"a":1,"a":2}',
    '{"cmd":"ls"}{'[:-1].replace("cmd", "other"),
    '{"command":"x","cmd":"y"}'.replace("cmd", "extra"),
]


@pytest.mark.parametrize("text", VALID)
def test_what_is_valid_is_never_touched(text: str) -> None:
    for schema in (BASH, None, {}):
        for size in (0, 1, 2, 3):
            assert read(text, schema, size) == (text.strip(), [])


REPAIRED: list[tuple[str, Any, Any, str]] = [
    # not JSON
    ('{"command": "a\nb\tc"}', BASH, {"command": "a\nb\tc"}, kinds.CONTROL),
    ('{"command": "a \\\nb"}', BASH, {"command": "a \\\nb"}, kinds.CONTROL),
    ('{"command": "grep \\d \\$x it\\\'s \\u12"}', BASH, {"command": "grep \\d \\$x it's \\u12"}, kinds.ESCAPE),
    ('{"command": "ls",}', BASH, {"command": "ls"}, kinds.SYNTAX),
    ("{'command': 'ls'}", BASH, {"command": "ls"}, kinds.SYNTAX),
    ("{'command': 'grep \"a\"', 'timeout': 5}", BASH, {"command": 'grep "a"', "timeout": 5}, kinds.SYNTAX),
    ('{command: "ls"}', BASH, {"command": "ls"}, kinds.SYNTAX),
    ('{"command": ls}', BASH, {"command": "ls"}, kinds.SYNTAX),
    ('{"command": "x" "timeout": 5}', BASH, {"command": "x", "timeout": 5}, kinds.SYNTAX),
    ('{"timeout": 5 "command": "x"}', BASH, {"command": "x", "timeout": 5}, kinds.SYNTAX),
    ('{"command": "echo "hi""}', BASH, {"command": 'echo "hi"'}, kinds.SYNTAX),
    ('{"command": "say "hi", then", "timeout": 5}', BASH, {"command": 'say "hi", then', "timeout": 5}, kinds.SYNTAX),
    ('{"command": "x", \'timeout\': "5"}', BASH, {"command": "x", "timeout": 5}, kinds.SYNTAX),
    ('{"command": "x", "flag": True}', BASH, {"command": "x", "flag": True}, kinds.SYNTAX),
    ('{"command": "x", "todos": [{"text": "a\nb"},]}', BASH,
     {"command": "x", "todos": [{"text": "a\nb"}]}, kinds.SYNTAX),
    ('{"command": "x", "timeout": "5\n"}', BASH, {"command": "x", "timeout": 5}, kinds.SYNTAX),
    ('{"command": "ls"', BASH, {"command": "ls"}, kinds.CLOSERS),
    ('{"command": "ls", "todos": [{"text": "a"}', BASH, {"command": "ls", "todos": [{"text": "a"}]}, kinds.CLOSERS),
    ('{"command": "ls", "flag": true', BASH, {"command": "ls", "flag": True}, kinds.CLOSERS),
    ('{"command": "ls"}}', BASH, {"command": "ls"}, kinds.JUNK),
    ('{"command": "ls"}\n</tool_call>', BASH, {"command": "ls"}, kinds.JUNK),
    # another form
    ('```json\n{"command": "ls"}\n```', BASH, {"command": "ls"}, kinds.UNWRAPPED),
    ('"{\\"command\\": \\"ls\\"}"', BASH, {"command": "ls"}, kinds.UNWRAPPED),
    ('"ls"', BASH, {"command": "ls"}, kinds.WRAPPED),
    ('["a"]', LISTING, {"items": ["a"]}, kinds.WRAPPED),
    ("[1]", BASH, {"value": [1]}, kinds.WRAPPED),
    # another type
    ('{"command": "x", "timeout": "5"}', BASH, {"command": "x", "timeout": 5}, kinds.TYPE),
    ('{"command": "x", "ratio": " 1.5 "}', BASH, {"command": "x", "ratio": 1.5}, kinds.TYPE),
    ('{"command": "x", "maybe": "5"}', BASH, {"command": "x", "maybe": 5}, kinds.TYPE),
    ('{"command": "x", "flag": "True"}', BASH, {"command": "x", "flag": True}, kinds.TYPE),
    ('{"command": "x", "tags": "a"}', BASH, {"command": "x", "tags": ["a"]}, kinds.TYPE),
    ('{"command": "x", "tags": "[\\"a\\", 1]"}', BASH, {"command": "x", "tags": ["a", "1"]}, kinds.TYPE),
    ('{"command": "x", "todos": "[{\\"text\\": \\"a\\", \\"n\\": \\"5\\"}]"}', BASH,
     {"command": "x", "todos": [{"text": "a", "n": 5}]}, kinds.TYPE),
    ('{"command": "x", "todos": {"text": "a"}}', BASH, {"command": "x", "todos": [{"text": "a"}]}, kinds.TYPE),
    ('{"command": "x", "opts": "{\\"a\\": 1}"}', BASH, {"command": "x", "opts": {"a": 1}}, kinds.TYPE),
    ('{"command": {"a": 1.10}}', BASH, {"command": '{"a": 1.10}'}, kinds.TYPE),
    ('{"command": 1.10}', BASH, {"command": "1.10"}, kinds.TYPE),
    # missing, misnamed, empty
    ('{"cmd": "ls", "timeout": 5}', BASH, {"timeout": 5, "command": "ls"}, kinds.RENAMED),
    ('{"path": "a", "content": "b"}', WRITE, {"content": "b", "file_path": "a"}, kinds.RENAMED),
    ('{"filePath": "a", "text": "b"}', WRITE, {"file_path": "a", "content": "b"}, kinds.RENAMED),
    ('{"file_path": "a", "content": "b"}', DEFAULTED, {"file_path": "a", "content": "b", "mode": "w"}, kinds.DEFAULT),
    ('{"command": "x", "pages": ""}', BASH, {"command": "x"}, kinds.ABSENT),
    ('{"pages": "", "command": "x"}', BASH, {"command": "x"}, kinds.ABSENT),
    ('{"timeout": null, "command": "x"}', BASH, {"command": "x"}, kinds.ABSENT),
    ('{"tags": "", "command": "x"}', BASH, {"command": "x"}, kinds.ABSENT),
]  # fmt: skip


@pytest.mark.parametrize(("text", "schema", "expected", "kind"), REPAIRED, ids=[row[0] for row in REPAIRED])
def test_what_is_not_becomes_what_it_can_only_mean(text: str, schema: Any, expected: Any, kind: str) -> None:
    whole, found = read(text, schema)
    assert whole is not None
    assert json.loads(whole) == expected
    assert kind in found
    for size in (1, 2, 3, 5):
        assert read(text, schema, size) == (whole, found)


LEFT: list[tuple[str, Any]] = [
    ('{"command": "x", "timeout": "soon"}', BASH),
    ('{"command": "x", "ratio": "1.5 s"}', BASH),
    ('{"command": "x", "flag": "yes"}', BASH),
    ('{"command": "x", "opts": "a"}', BASH),
    ('{"command": null}', BASH),
    ('{"file": "a", "path": "b", "content": "c"}', WRITE),
    ('{"place": "a", "content": "c"}', WRITE),
]


@pytest.mark.parametrize(("text", "schema"), LEFT)
def test_what_nothing_makes_valid_stays_as_it_is(text: str, schema: Any) -> None:
    whole, found = read(text, schema)
    assert whole is not None
    assert (json.loads(whole), found) == (json.loads(text), [])


HOPELESS = [
    '{"command": "rm -rf /tmp/x',
    '{"command": "rm -rf /tmp/x\\',
    '{"command": "ls", "timeout": 12',
    '{"command": "ls", "time',
    '{"command": "ls", "timeout":',
    '{"command": "x", "todos": [{"text": "a',
    '{"command": "x", "todos": [1',
    "{'command': 'rm -rf /tmp/x",
    "{'command': 'echo {a}",
    '{"command": "x"}{"command": "y"}',
    '{"command": "x", bogus}',
    '{"command": }',
    '{"command": "x"; rm',
    '{"command": "x" // why\n}',
    '{"todos": {"text":[1,2}',
    '{"command": "echo "}" x"}',
    "ls -la",
    "```",
    '{"command": "echo "hi" // "}, "there"',
]


@pytest.mark.parametrize("text", HOPELESS)
def test_what_was_cut_or_has_no_one_meaning_is_hopeless(text: str) -> None:
    for size in (0, 1, 2):
        assert read(text, BASH, size)[0] is None


@pytest.mark.parametrize("text", ["", " \n", "null", "{}"])
def test_no_arguments(text: str) -> None:
    assert read(text, BASH) == ("{}", [])


def test_long_strings_are_live() -> None:
    arguments = ArgumentText(Parameters(WRITE))
    assert arguments.feed('{"file_path":') == ""
    assert arguments.feed('"/a') == '{"file_path":"/a'
    assert arguments.feed("/b") == "/b"
    assert arguments.feed('","content":"x') == '","content":"x'
    assert arguments.feed("y\\") == "y"
    assert arguments.feed("nz") == "\\nz"
    assert arguments.feed('"') == ""
    assert not arguments.whole
    assert arguments.feed("}") == '"}'
    assert arguments.whole
    assert arguments.finish() == ""


def test_a_cut_call_stays_as_it_came() -> None:
    for text in [
        '{"command": "ls", "timeout": "1',
        '{"pages": "',
        '{"command": "l',
        "{",
    ]:
        arguments = ArgumentText(Parameters(BASH))
        assert arguments.feed(text) + arguments.rest() == text


def test_a_cut_call_that_no_reader_takes_is_told_as_the_client_tells_it() -> None:
    for text in ["{'command': 'l", '```json\n{"c', ":"]:
        arguments = ArgumentText(Parameters(BASH))
        assert json.loads(arguments.feed(text) + arguments.rest()) == unparsed_input(text)


def test_of_a_cut_call_that_had_begun_what_is_malformed_is_left_out() -> None:
    arguments = ArgumentText(Parameters(BASH))
    sent = arguments.feed('{"command": "ls", timeout: 5')
    assert sent + arguments.rest() == '{"command": "ls'
    assert arguments.kinds == ["what was malformed of a call that was cut off is left out"]
    arguments = ArgumentText(Parameters(WRITE))
    cut = arguments.feed('{"path": "a", "content": "b", "x": [1') + arguments.rest()
    with pytest.raises(ValueError):
        json.loads(cut)


@given(strategies.OBJECTS, st.integers(1, 5), st.booleans())
def test_any_object_passes_byte_for_byte(value: dict[str, Any], size: int, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert read(text, None, size) == (text, [])


VALUES = strategies.VALUES | st.sampled_from(["5", "true", "[1]", '{"text": "a"}', '"', ""])
GIVEN = st.dictionaries(st.sampled_from([*BASH["properties"], "cmd", "x"]), VALUES, max_size=4)


@pytest.mark.parametrize("key", ["edits", "pattern"])
def test_each_character_of_a_long_value_is_read_once(key: str) -> None:
    """Read anew with each fragment, 80,000 characters took 17 s; once, 0.03 s."""
    long = 'say "it"\n' * 8000
    text = json.dumps({key: [{"new": long}] if key == "edits" else long})
    arguments = ArgumentText(Parameters({"properties": {"edits": {"type": "array"}, "pattern": {"type": "integer"}}}))
    begun = time.process_time()
    assert "".join([arguments.feed(text[at : at + 5]) for at in range(0, len(text), 5)]) + arguments.finish() == text
    assert time.process_time() - begun < 3


@given(st.data(), GIVEN)
def test_any_split_gives_the_same(data: st.DataObject, value: dict[str, Any]) -> None:
    text = json.dumps(value)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.sampled_from(["", '"', "'", "\n", ",", "}", "\\"])) + text[at + 1 :]
    whole = read(text, BASH)
    assert read(text, BASH, data.draw(st.integers(1, 4))) == whole
    if whole[0] is not None:
        assert isinstance(json.loads(whole[0]), dict)


@given(GIVEN, st.data())
def test_a_cut_object_is_never_completed_inside_a_string(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(1, len(text)))]
    if len(cut.replace("\\\\", "").replace('\\"', "").split('"')) % 2 == 0:
        assert read(cut, BASH)[0] is None
