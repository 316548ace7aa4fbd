"""Every rule of every described server refuses what breaks it, in its own words; a plain request passes them all."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import fields
from functools import partial
from typing import Any

import pytest

from latimer.policy.presets import presets
from tests.providers.engine import KEY, Door, Server, servers
from tests.providers.rules import RULES, at
from tests.providers.styles import Style, details
from tests.scenarios.checking import Json, MalformedError
from tests.scenarios.ledger import Ledger
from tests.scenarios.replies import Call, Say
from tests.upstream import Exchange, Upstream, playing

SCHEMA: Json = {"type": "object", "properties": {"city": {"type": "string"}}}
DOORS = [(server, door) for server in servers().values() for door in server.doors.values()]
CASES = [
    pytest.param(server, door, data, id=f"{server.name}-{door.dialect}-{place}-{data['rule']}")
    for server, door in DOORS
    for place, data in enumerate(door.rules)
]
each_door = pytest.mark.parametrize(
    ("server", "door"), [pytest.param(*at, id=f"{at[0].name}-{at[1].dialect}") for at in DOORS]
)
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
BLOCK = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}


def tool(door: Door, name: str = "weather", schema: Json | None = None, **fields: Any) -> Json:
    """One function, in the dialect's form."""
    told: Json = {"name": name, "description": "d", **fields}
    if door.dialect == "messages":
        return {**told, "input_schema": schema or deepcopy(SCHEMA)}
    told["parameters"] = schema or deepcopy(SCHEMA)
    return (
        {"type": "function", "function": told}
        if door.dialect == "chat"
        else {"type": "function", "strict": False, **told}
    )


def plain(server: Server, door: Door) -> Json:
    """A plain first question with a tool on offer, in the words this server's own documentation would use."""
    body: Json = {"model": door.model, "stream": True, "tools": [tool(door)]}
    question = {"role": "user", "content": "hi"}
    if door.dialect == "messages":
        body |= {"max_tokens": 100, "system": "be brief", "messages": [question]}
    elif door.dialect == "responses":
        body |= {"instructions": "be brief", "input": [question]}
    else:
        body["messages"] = [{"role": "system", "content": "be brief"}, question]
    for data in door.rules:
        if data["rule"] == "must_be":
            body[data["field"]] = data["values"][0]
    return body


def headers(server: Server, door: Door) -> dict[str, str]:
    """The headers this server asks for."""
    asked = [
        name
        for data in door.rules
        if data["rule"] == "headers" and not data.get("when_image")
        for name in data["names"]
    ]
    key = {"authorization": f"Bearer {KEY}"} if server.key == "authorization" else {server.key: KEY}
    version = {"anthropic-version": "2023-06-01"} if door.dialect == "messages" else {}
    return {**key, **version, **dict.fromkeys(asked, "x")}


def ask(server: Server, door: Door, body: Json, shown: dict[str, str] | None = None) -> MalformedError | None:
    """What the server finds wrong with a request."""
    shown = headers(server, door) if shown is None else shown
    exchange = Exchange(
        0, door.path, shown, json.dumps(body).encode(), body, door.model, door.dialect, server, Ledger()
    )
    return next(server.breaches(door, exchange, ledger()), None)


def ledger() -> Ledger:
    """A server that has thought about one call before."""
    record = Ledger()
    record.record(Say("Let me look.", calls=(Call("weather", {}, id="aB0000001"),), reasoning="Hm."), "token")
    return record


def put(body: Json, path: str, value: Any) -> None:
    """Set a field at a dotted path."""
    *way, last = path.split(".")
    for name in way:
        body = body.setdefault(name, {})
    body[last] = value


def conversation(body: Json) -> list[Json]:
    """The list of messages or items."""
    found: list[Json] = body["input"] if "input" in body else body["messages"]
    return found


def called(body: Json, door: Door, **fields: Any) -> Json:
    """Add a call and its result; `fields` go into the assistant's message."""
    if door.dialect == "messages":
        use = {"type": "tool_use", "id": "aB0000001", "name": "weather", "input": {}}
        content = [*fields.get("blocks", ()), use]
        result = {"type": "tool_result", "tool_use_id": "aB0000001", "content": fields.get("result", "sunny")}
        turns = [{"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    elif door.dialect == "responses":
        call = {"type": "function_call", "call_id": "aB0000001", "name": "weather", "arguments": "{}"}
        turns = [call, {"type": "function_call_output", "call_id": "aB0000001", "output": "sunny"}]
    else:
        call = {
            "id": fields.pop("id", "aB0000001"),
            "type": "function",
            "function": {"name": "weather", "arguments": "{}"},
        }
        result = {"role": "tool", "tool_call_id": call["id"], "content": fields.pop("result", "sunny")}
        turns = [{"role": "assistant", "content": "", "tool_calls": [call], **fields}, result]
    conversation(body).extend(turns)
    return body


def _schema(schema: Json, body: Json, door: Door, data: Json) -> None:
    body["tools"] = [tool(door, schema={"type": "object", "properties": {"city": schema}})]


def _no_fields(body: Json, door: Door, data: Json) -> None:
    put(body, data["fields"][0], {"type": "x"} if data["fields"][0] == "thinking" else "x")
    for path in data.get("unless", {}):
        body.pop(path, None)
    for path, values in data.get("where", {}).items():
        put(body, path, values[0])


def _keyword(body: Json, door: Door, data: Json) -> None:
    _schema({"type": "string", data["keywords"][0]: "x"}, body, door, data)


def _choice(body: Json, door: Door, data: Json) -> None:
    words = {"chat": "required", "responses": "required", "messages": {"type": "any"}}
    named = {"type": "function", "function": {"name": "weather"}}
    body["tool_choice"] = words[door.dialect] if "required" not in data["choices"] else named
    for path in data.get("given", ()):
        put(body, path, {"type": "adaptive"})


def _limit(body: Json, door: Door, data: Json) -> None:
    put(body, data["field"], data["max"] + 1)


def _add(message: Json, body: Json, door: Door, data: Json) -> None:
    conversation(body).append(message)


def _part(body: Json, door: Door, data: Json) -> None:
    part: Json = {"type": data["types"][0]}
    if data["types"][0] == "tool_reference" or data.get("roles") == ["tool"]:
        called(body, door, result=[part])
    else:
        conversation(body).append({"role": "user", "content": [part]})


def _headers(body: Json, door: Door, data: Json) -> None:
    if data.get("when_image"):
        part = {"chat": IMAGE, "messages": BLOCK, "responses": {"type": "input_image"}}[door.dialect]
        conversation(body).append({"role": "user", "content": [part]})
    else:
        body["headers"] = {}


def _message_field(body: Json, door: Door, data: Json) -> None:
    conversation(body)[-1][data["fields"][0]] = "x"


def _text_only(body: Json, door: Door, data: Json) -> None:
    called(body, door, result=[{"type": "text", "text": "x"}])


BREAKS: dict[str, Callable[[Json, Door, Json], Any]] = {
    "known_fields": lambda body, door, data: put(body, "frobnicate", True),
    "must_be": lambda body, door, data: body.pop(data["field"]),
    "no_null_fields": lambda body, door, data: conversation(body)[-1].update({data["fields"][0]: None}),
    "no_values": lambda body, door, data: put(body, "system", [{"cache_control": {data["field"]: data["values"][0]}}]),
    "no_fields": _no_fields,
    "no_message_fields": _message_field,
    "no_tool_fields": lambda body, door, data: put(
        body, "tools", [tool(door, **{data["fields"][0]: data.get("values", ["x"])[0]})]
    ),
    "values": lambda body, door, data: put(body, data["field"], "wrong"),
    "limits": _limit,
    "exclusive": lambda body, door, data: [put(body, field, at(body, field) or "x") for field in data["fields"]],
    "stops": lambda body, door, data: put(body, "stop", ["x"] * (data["max"] + 1)),
    "needs_stream": lambda body, door, data: body.update({"stream": False, data["field"]: data["over"] + 1}),
    "roles": partial(_add, {"role": "developer", "content": "x"}),
    "system_first": partial(_add, {"role": "system", "content": "x"}),
    "user_needed": lambda body, door, data: conversation(body).pop(),
    "no_user_after_tool": lambda body, door, data: conversation(called(body, door)).append(
        {"role": "user", "content": "x"}
    ),
    "ends_with": partial(_add, {"role": "system", "content": "x"}),
    "alternate": partial(_add, {"role": "user", "content": "x"}),
    "assistant_content": lambda body, door, data: (
        called(body, door, content={"null": None, "empty": ""}[data["refuse"][0]])
        if data["refuse"]
        else conversation(body).append({"role": "assistant", "content": ""})
    ),
    "text_only": _text_only,
    "no_parts": _part,
    "plain_images": partial(
        _add, {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}
    ),
    "no_part_fields": lambda body, door, data: conversation(body).append(
        {"role": "user", "content": [{"type": "text", "text": "x", data["fields"][0]: {}}]}
    ),
    "max_tools": lambda body, door, data: put(body, "tools", [tool(door, f"t{i}") for i in range(data["max"] + 1)]),
    "tool_names": lambda body, door, data: put(body, "tools", [tool(door, "9" * 65)]),
    "call_ids": lambda body, door, data: called(body, door, id="c" * 41),
    "choices": _choice,
    "tools_for_history": lambda body, door, data: called(body, door) and body.pop("tools"),
    "tool_parameters": lambda body, door, data: body["tools"][0]["function"].pop("parameters"),
    "schema_keywords": _keyword,
    "schema_types": partial(_schema, {"description": "x"}),
    "schema_any_of": partial(_schema, {"type": "string", "anyOf": []}),
    "schema_enums": partial(_schema, {"type": "integer", "enum": [1]}),
    "schema_items": partial(_schema, {"type": "array"}),
    "schema_required": partial(_schema, {"type": "object", "properties": {}, "required": ["x"]}),
    "reasoning_back": lambda body, door, data: called(body, door),
    "details_back": lambda body, door, data: called(
        body, door, reasoning_details=details(Say(reasoning="Hm."), "other")
    ),
    "thought_signature": lambda body, door, data: called(body, door),
    "opaque_back": lambda body, door, data: called(body, door),
    "headers": _headers,
    "needs_beta": lambda body, door, data: (conversation(body)[-1] if data.get("messages") else body).update(
        {data["field"]: {}}
    ),
    "no_sealed": lambda body, door, data: called(body, door, blocks=[{"type": "redacted_thinking", "data": "x"}]),
}


@pytest.mark.parametrize(("server", "door", "data"), CASES)
def test_each_rule_refuses_what_breaks_it(server: Server, door: Door, data: Json) -> None:
    body = plain(server, door)
    assert ask(server, door, body) is None
    BREAKS[data["rule"]](body, door, data)
    refusals = list(_refusals(server, door, body))
    assert data["says"].split("{")[0] in " | ".join(refusals), refusals


def _refusals(server: Server, door: Door, body: Json) -> Iterator[str]:
    shown = body.pop("headers", headers(server, door))
    exchange = Exchange(0, door.path, shown, b"", body, door.model, door.dialect, server, Ledger())
    yield from (str(error) for error in server.breaches(door, exchange, ledger()))


def test_every_rule_is_used_and_can_be_broken() -> None:
    used = {data["rule"] for _, door in DOORS for data in door.rules}
    assert set(RULES) == used
    assert set(BREAKS) == used


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with playing([]) as running:
        yield running


def post(upstream: Upstream, door: Door, body: Json, shown: dict[str, str]) -> tuple[int, str, bytes]:
    """One request over the wire."""
    url = f"http://127.0.0.1:{upstream.port}{door.path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json", **shown})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers["content-type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["content-type"], error.read()


@each_door
@pytest.mark.parametrize("streaming", [True, False])
def test_a_plain_request_is_answered(upstream: Upstream, server: Server, door: Door, streaming: bool) -> None:
    upstream.play(lambda _: Say("Hello.", calls=(Call("weather", {"city": "Oslo"}),), reasoning="Hm."), host=server)
    status, kind, answer = post(upstream, door, {**plain(server, door), "stream": streaming}, headers(server, door))
    assert (status, upstream.refused, upstream.failures) == (200, [], [])
    assert kind.startswith("text/event-stream" if streaming else "application/json")
    assert b"weather" in answer
    assert b"Hello." in answer or streaming


@each_door
def test_the_form_of_a_request_and_its_key_are_checked(upstream: Upstream, server: Server, door: Door) -> None:
    upstream.play([], host=server)
    broken = {**plain(server, door), "model": "another"}
    status, _, answer = post(upstream, door, broken, headers(server, door))
    assert status == 404
    assert b"another" in answer
    if server.key != "none":
        keyless = {name: value for name, value in headers(server, door).items() if name != server.key}
        assert post(upstream, door, plain(server, door), keyless)[0] == 401


def test_every_preset_has_a_server_and_each_of_its_dialects_is_served() -> None:
    assert set(servers()) == set(presets())
    for name, preset in presets().items():
        address = preset.addresses["default"]
        own = address.messages_url and address.messages_url == address.base_url
        # A base URL is taken for that of Chat Completions, save where it is the Messages API's own.
        offered = set(address.dialects) - ({"chat"} if own and name == "anthropic" else set())
        assert offered <= set(servers()[name].doors), name


def test_every_way_of_streaming_is_some_servers() -> None:
    ways = {name for _, door in DOORS for table in (door.stream, *door.stream_with.values()) for name in table}
    assert {each.name for each in fields(Style)} <= ways
