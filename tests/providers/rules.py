"""The rules that a server.toml can name. Each is a function of the request and the rule's own data.

A rule yields the details of what it refuses; its `says` is filled with them. What a rule looks at is the same in every
dialect where the dialects have it: turns, tools, the choice.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from tests.providers.styles import details
from tests.scenarios.checking import Json, objects
from tests.scenarios.ledger import Ledger
from tests.scenarios.messages_rules import TOP_LEVEL as MESSAGES
from tests.scenarios.responses_rules import TOP_LEVEL as RESPONSES
from tests.scenarios.rules import TOP_LEVEL as CHAT
from tests.scenarios.turns import TURNS, Turn, messages_of, tools_of

VOCABULARY = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES}

Breach = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One request, as the rules see it."""

    dialect: str
    body: Json
    headers: Mapping[str, str]
    ledger: Ledger
    own: frozenset[str] = frozenset()
    """Top-level fields the server adds to the dialect's."""

    @cached_property
    def turns(self) -> list[Turn]:
        """The conversation."""
        turns: list[Turn] = TURNS[self.dialect](self.body)
        return turns

    @cached_property
    def messages(self) -> list[Json]:
        """The conversation, in the dialect's own form."""
        return messages_of(self.dialect, self.body)

    @cached_property
    def tools(self) -> dict[str, Json]:
        """The functions on offer."""
        return tools_of(self.dialect, self.body)

    @property
    def parts(self) -> Iterator[tuple[Turn, Json]]:
        """All content parts."""
        for turn in self.turns:
            for part in turn.parts:
                yield turn, part

    @property
    def roles(self) -> list[str]:
        """The roles of the messages, as they stand there."""
        return [str(message.get("role", message.get("type"))) for message in self.messages]

    @property
    def calls(self) -> Iterator[tuple[int, Json]]:
        """The calls in a Chat conversation, with the place of their message."""
        for place, message in enumerate(self.messages):
            for call in message.get("tool_calls") or ():
                yield place, call

    @property
    def choice(self) -> str:
        """The tool choice: its word, or `named`."""
        choice = self.body.get("tool_choice", "auto")
        if self.dialect == "messages":
            word = choice["type"] if isinstance(choice, dict) else choice
            return {"tool": "named"}.get(word, word)
        return "named" if isinstance(choice, dict) else str(choice)


Rule = Callable[[Asked, Json], Iterator[Breach]]


def at(body: Any, path: str) -> Any:
    """What stands at a dotted path, None for nothing."""
    for name in path.split("."):
        body = body.get(name) if isinstance(body, dict) else None
    return body


def applies(asked: Asked, data: Json) -> bool:
    """Whether the rule's condition holds: `given` fields are there, every `where` field has one of its values, and no
    `unless` field has."""
    given = all(at(asked.body, path) is not None for path in data.get("given", ()))
    where = all(at(asked.body, path) in values for path, values in data.get("where", {}).items())
    return (
        given and where and all(at(asked.body, path) not in values for path, values in data.get("unless", {}).items())
    )


def known_fields(asked: Asked, data: Json) -> Iterator[Breach]:
    """Top-level fields that are neither the dialect's nor the server's own; `except`: of the dialect's, not taken."""
    known = (VOCABULARY[asked.dialect] - set(data.get("except", ()))) | asked.own
    yield from ({"field": field} for field in sorted(set(asked.body) - known))


def no_fields(asked: Asked, data: Json) -> Iterator[Breach]:
    """Fields that are refused by name."""
    yield from ({"field": path, "value": at(asked.body, path)} for path in data["fields"] if at(asked.body, path))


def no_message_fields(asked: Asked, data: Json) -> Iterator[Breach]:
    """Fields of messages that are refused by name."""
    for place, message in enumerate(asked.messages):
        for field in data["fields"]:
            if field in message:
                yield {"field": field, "index": place, "role": message.get("role")}


def no_tool_fields(asked: Asked, data: Json) -> Iterator[Breach]:
    """Fields of tools that are refused by name, or with the values of `values` only."""
    for place, tool in enumerate(asked.tools.values()):
        for field in data["fields"]:
            if field in tool and tool[field] in data.get("values", [tool[field]]):
                yield {"field": field, "index": place, "name": tool["name"]}


def values(asked: Asked, data: Json) -> Iterator[Breach]:
    """A field that takes certain values only."""
    found = at(asked.body, data["field"])
    if found is not None and found not in data["values"]:
        yield {"field": data["field"], "value": found}


def must_be(asked: Asked, data: Json) -> Iterator[Breach]:
    """A field that has to be there, with one of these values."""
    if at(asked.body, data["field"]) not in data["values"]:
        yield {"field": data["field"], "value": at(asked.body, data["field"])}


def no_null_fields(asked: Asked, data: Json) -> Iterator[Breach]:
    """Fields of messages or items that may be absent but not null."""
    for place, message in enumerate(asked.messages):
        yield from ({"field": name, "index": place} for name in data["fields"] if message.get(name, "") is None)


def no_values(asked: Asked, data: Json) -> Iterator[Breach]:
    """A field that may not have these values, wherever in the request it stands; schemas do not count."""
    tools = [{**tool, "parameters": None, "input_schema": None} for tool in asked.tools.values()]
    for node in objects([{**asked.body, "tools": tools}]):
        if node.get(data["field"]) in data["values"]:
            yield {"field": data["field"], "value": node[data["field"]]}


def limits(asked: Asked, data: Json) -> Iterator[Breach]:
    """A number between two others."""
    found = at(asked.body, data["field"])
    if found is not None and not data.get("min", found) <= found <= data.get("max", found):
        yield {"field": data["field"], "value": found}


def exclusive(asked: Asked, data: Json) -> Iterator[Breach]:
    """Fields that do not go together."""
    if all(at(asked.body, path) for path in data["fields"]):
        yield {"field": data["fields"][0]}


def stops(asked: Asked, data: Json) -> Iterator[Breach]:
    """At most so many stop sequences."""
    found = asked.body.get("stop_sequences" if asked.dialect == "messages" else "stop") or []
    if not isinstance(found, str) and len(found) > data["max"]:
        yield {"count": len(found)}


def needs_stream(asked: Asked, data: Json) -> Iterator[Breach]:
    """More output than `over` tokens is streamed only."""
    if not asked.body.get("stream") and (at(asked.body, data["field"]) or 0) > data["over"]:
        yield {"value": at(asked.body, data["field"])}


def roles(asked: Asked, data: Json) -> Iterator[Breach]:
    """The only roles there are."""
    yield from ({"role": role, "index": i} for i, role in enumerate(asked.roles) if role not in data["roles"])


def system_first(asked: Asked, data: Json) -> Iterator[Breach]:
    """One system message at most, and it comes first."""
    for place, role in enumerate(asked.roles):
        if role in {"system", "developer"} and place > 0:
            yield {"role": role, "index": place}


def user_needed(asked: Asked, data: Json) -> Iterator[Breach]:
    """At least one message of a user."""
    if "user" not in asked.roles:
        yield {}


def no_user_after_tool(asked: Asked, data: Json) -> Iterator[Breach]:
    """A tool message is followed by the model's, or by another tool's."""
    for before, role in pairwise(asked.roles):
        if before == "tool" and role not in {"tool", "assistant"}:
            yield {"role": role}


def ends_with(asked: Asked, data: Json) -> Iterator[Breach]:
    """The roles the last message may have."""
    if asked.roles[-1] not in data["roles"]:
        yield {"role": asked.roles[-1]}


def alternate(asked: Asked, data: Json) -> Iterator[Breach]:
    """Users and assistant take turns; tool messages belong to the assistant's turn."""
    spoken = [role for role in asked.roles if role in {"user", "assistant"}]
    for before, role in pairwise(spoken):
        if before == role == "user":
            yield {"role": role}


def assistant_content(asked: Asked, data: Json) -> Iterator[Breach]:
    """Forms that the content of an assistant message may not have: `null`, `empty`, `missing`, `nothing` at all."""
    for place, message in enumerate(asked.messages):
        if message.get("role") != "assistant":
            continue
        content, calls = message.get("content", "missing"), message.get("tool_calls")
        form = {"missing": "missing", None: "null", "": "empty"}.get(content if not isinstance(content, list) else "x")
        blank = isinstance(content, list) and any(part.get("text") == "" for part in content)
        form = "empty" if blank else form
        if form in data["refuse"] or (form and not calls):
            yield {"index": place}


def text_only(asked: Asked, data: Json) -> Iterator[Breach]:
    """Text is a string, not a list of text parts; `roles`: in the messages of these only."""
    for place, message in enumerate(asked.messages):
        parts = message.get("content")
        text = isinstance(parts, list) and all(part.get("type") == "text" for part in parts)
        if text and message["role"] in data.get("roles", [message["role"]]):
            yield {"index": place, "role": message["role"]}


def no_parts(asked: Asked, data: Json) -> Iterator[Breach]:
    """Types of content parts or blocks that are refused; `roles`: in the messages of these only."""
    for turn, part in asked.parts:
        if part.get("type") in data["types"] and turn.role in data.get("roles", [turn.role]):
            yield {"type": part["type"], "role": turn.role}


def plain_images(asked: Asked, data: Json) -> Iterator[Breach]:
    """Images come as data of these formats, not as addresses."""
    for _, part in asked.parts:
        url = at(part, "image_url.url") or ""
        if url and not re.match(rf"data:image/({'|'.join(data['formats'])});base64,", url):
            yield {"value": url[:40]}


def no_part_fields(asked: Asked, data: Json) -> Iterator[Breach]:
    """Fields of content parts or blocks that are refused."""
    for _, part in asked.parts:
        yield from ({"field": field} for field in data["fields"] if field in part)


def max_tools(asked: Asked, data: Json) -> Iterator[Breach]:
    """At most so many tools."""
    if len(asked.tools) > data["max"]:
        yield {"count": len(asked.tools)}


def tool_names(asked: Asked, data: Json) -> Iterator[Breach]:
    """The pattern of names."""
    yield from ({"name": name} for name in asked.tools if not re.fullmatch(data["pattern"], name))


def call_ids(asked: Asked, data: Json) -> Iterator[Breach]:
    """The pattern of ids."""
    yield from ({"id": call["id"]} for _, call in asked.calls if not re.fullmatch(data["pattern"], call["id"]))


def choices(asked: Asked, data: Json) -> Iterator[Breach]:
    """The tool choices there are: words, and `named`."""
    if asked.choice not in data["choices"]:
        yield {"value": asked.choice}


def tools_for_history(asked: Asked, data: Json) -> Iterator[Breach]:
    """Calls in the conversation need tools on offer."""
    if any(turn.calls for turn in asked.turns) and not asked.tools:
        yield {}


def tool_parameters(asked: Asked, data: Json) -> Iterator[Breach]:
    """Every function has parameters."""
    yield from ({"name": name} for name, tool in asked.tools.items() if not tool.get("parameters"))


def schema_keywords(asked: Asked, data: Json) -> Iterator[Breach]:
    """Keywords that a schema may not have."""
    for name, tool in asked.tools.items():
        for node, place in _schemas(tool.get("parameters"), "parameters"):
            for keyword in sorted(set(data["keywords"]) & set(node)):
                yield {"name": name, "keyword": keyword, "place": place}


def schema_types(asked: Asked, data: Json) -> Iterator[Breach]:
    """Every schema in a schema has a type, or says what it is by other means."""
    for name, tool in asked.tools.items():
        for node, place in _schemas(tool.get("parameters"), "parameters"):
            if not {"type", "anyOf", "$ref", "allOf", "oneOf"} & set(node):
                yield {"name": name, "place": place}


def schema_any_of(asked: Asked, data: Json) -> Iterator[Breach]:
    """A type does not stand next to `anyOf`."""
    for name, tool in asked.tools.items():
        for node, place in _schemas(tool.get("parameters"), "parameters"):
            if {"type", "anyOf"} <= set(node):
                yield {"name": name, "place": place}


def schema_enums(asked: Asked, data: Json) -> Iterator[Breach]:
    """Enumerations are of strings."""
    for name, tool in asked.tools.items():
        for node, place in _schemas(tool.get("parameters"), "parameters"):
            if not all(isinstance(value, str) for value in node.get("enum", ())):
                yield {"name": name, "place": place}


def schema_items(asked: Asked, data: Json) -> Iterator[Breach]:
    """Arrays say what is in them."""
    for name, tool in asked.tools.items():
        for node, place in _schemas(tool.get("parameters"), "parameters"):
            if node.get("type") == "array" and "items" not in node:
                yield {"name": name, "place": place}


def schema_required(asked: Asked, data: Json) -> Iterator[Breach]:
    """What is required is a property."""
    for name, tool in asked.tools.items():
        for node, place in _schemas(tool.get("parameters"), "parameters"):
            for field in set(node.get("required", ())) - set(node.get("properties", {})):
                yield {"name": name, "place": place, "field": field}


def _schemas(schema: Any, place: str) -> Iterator[tuple[Json, str]]:
    """A schema and every schema in it, with its place."""
    if not isinstance(schema, dict):
        return
    yield schema, place
    for name in ("properties", "$defs", "definitions", "patternProperties"):
        for key, child in (schema.get(name) or {}).items():
            yield from _schemas(child, f"{place}.{name}.{key}")
    for name in ("items", "additionalProperties", "not"):
        yield from _schemas(schema.get(name), f"{place}.{name}")
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for number, child in enumerate(schema.get(name) or ()):
            yield from _schemas(child, f"{place}.{name}.{number}")


def reasoning_back(asked: Asked, data: Json) -> Iterator[Breach]:
    """Once tools are used, every assistant message carries its reasoning; `calls_only`: those that call tools do."""
    if not any(turn.calls for turn in asked.turns):
        return
    for place, turn in enumerate(asked.turns):
        needed = turn.role == "assistant" and (turn.calls or not data.get("calls_only"))
        if needed and (turn.reasoning is None or (data.get("filled") and not turn.reasoning)):
            yield {"index": place}


def details_back(asked: Asked, data: Json) -> Iterator[Breach]:
    """`reasoning_details` come back as they were said, merged by index, on every message that had some."""
    issued = [details(say, token) for token, say in asked.ledger.reasoning.items()]
    for place, message in enumerate(asked.messages):
        had = [
            asked.ledger.calls[call["id"]]
            for call in message.get("tool_calls") or ()
            if call["id"] in asked.ledger.calls
        ]
        found = message.get("reasoning_details")
        if (found is None and any(say.reasoning for say in had)) or (found is not None and found not in issued):
            yield {"index": place}


def thought_signature(asked: Asked, data: Json) -> Iterator[Breach]:
    """The first call of each message has the thought signature it came with."""
    for place, message in enumerate(asked.messages):
        for call in (message.get("tool_calls") or ())[:1]:
            token = at(call, "extra_content.google.thought_signature")
            if token not in asked.ledger.reasoning and token not in data.get("tolerates", ()):
                yield {"index": place, "name": at(call, "function.name")}


def opaque_back(asked: Asked, data: Json) -> Iterator[Breach]:
    """An opaque token that a message came with goes back with it."""
    for place, message in enumerate(asked.messages):
        token = message.get(data["field"])
        had = [asked.ledger.calls.get(call["id"]) for call in message.get("tool_calls") or ()]
        lost = any(say and say.reasoning for say in had) and token is None
        if lost or (token is not None and token not in asked.ledger.reasoning):
            yield {"index": place}


def headers(asked: Asked, data: Json) -> Iterator[Breach]:
    """Headers without which nothing is served; `when_image`: only where the request has one."""
    if data.get("when_image") and not any("image" in part.get("type", "") for _, part in asked.parts):
        return
    shown = {name.lower() for name in asked.headers}
    yield from ({"header": name} for name in data["names"] if name.lower() not in shown)


def needs_beta(asked: Asked, data: Json) -> Iterator[Breach]:
    """A field, of the request or of a message in it, that exists only for those who ask for its beta."""
    used = data["field"] in asked.body or (
        data.get("messages") and any(data["field"] in each for each in asked.messages)
    )
    betas = next((value for name, value in asked.headers.items() if name.lower() == "anthropic-beta"), "")
    if used and data["beta"] not in betas:
        yield {"field": data["field"]}


def no_sealed(asked: Asked, data: Json) -> Iterator[Breach]:
    """Blocks whose meaning is another vendor's secret."""
    for node in objects(asked.messages):
        if node.get("type") == "redacted_thinking":
            yield {}


RULES: Mapping[str, Rule] = {
    rule.__name__: rule
    for rule in (
        known_fields, must_be, no_null_fields, no_values, no_fields, no_message_fields, no_tool_fields, values, limits,
        exclusive, stops, needs_stream, roles, system_first, user_needed, no_user_after_tool, ends_with, alternate,
        assistant_content, text_only, no_parts, plain_images, no_part_fields, max_tools, tool_names, call_ids,
        choices, tools_for_history, tool_parameters, schema_keywords, schema_types, schema_any_of,
        schema_enums, schema_items, schema_required, reasoning_back, details_back, thought_signature,
        opaque_back, headers, needs_beta, no_sealed,
    )
}  # fmt: skip
