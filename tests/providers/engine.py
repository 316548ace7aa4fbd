"""Plays the server that a server.toml describes: its paths, its rules in its words, its way of streaming.

    model = "…"              the one model it serves; a dialect may have another
    key = "authorization"    the header that has to carry the key: authorization (Bearer), api-key, x-api-key, or none
    user_headers = { … }     headers that a preset can not know, so that users write them themselves
    error = { … }            the error body; {message}, {status}, {code}, {param} and {kind} are filled in

    [chat]                   and [responses], [messages]: each dialect it speaks
    path = "/v1/chat/completions"
    fields = […]             top-level fields of its own; likewise message_fields, part_fields, call_fields, part_types
    efforts = […]            words of reasoning_effort that are its own
    error = { … }            where the dialect's differs
    returns = true           whether reasoning has to come back even where nothing is refused for the lack of it
    lossless = true          whether it is the API that the client itself speaks, so that nothing may be lost
    [chat.stream]            `tests.providers.styles.Style`
    [chat.stream_with.FIELD] what is otherwise when the request has this field
    [[chat.rules]]           a function of `tests.providers.rules` and its data; says, status, code: the refusal

What is not said is as strict as `tests.scenarios.strict`, save that unknown top-level fields are ignored: only the rule
`known_fields` refuses them.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Any

from tests.providers.rules import RULES, Asked, applies, at
from tests.providers.styles import Style
from tests.scenarios import messages_replies, responses_replies
from tests.scenarios.checking import Json, MalformedError
from tests.scenarios.ledger import Ledger
from tests.scenarios.messages_rules import MessagesRules
from tests.scenarios.replies import Say, Wire
from tests.scenarios.responses_rules import ResponsesRules
from tests.scenarios.rules import EFFORTS, Rules
from tests.scenarios.strict import KINDS, sealed
from tests.upstream import Exchange

FOLDER = Path(__file__).parent
KEY = "sk-provider-test"
DIALECTS = ("chat", "responses", "messages")
OPENAI = {"error": {"message": "{message}", "type": "invalid_request_error", "param": "{param}", "code": "{code}"}}
ANTHROPIC = {"type": "error", "error": {"type": "{kind}", "message": "{message}"}, "request_id": "req_1"}


@dataclass(frozen=True)
class Door:
    """One dialect of a server."""

    dialect: str
    path: str
    model: str
    error: Any
    rules: tuple[Json, ...] = ()
    words: Mapping[str, frozenset[str]] = field(default_factory=dict)
    stream: Json = field(default_factory=dict)
    stream_with: Mapping[str, Json] = field(default_factory=dict)
    tool_images: bool = False
    mid_system: bool = True
    returns: bool = False
    lossless: bool = False
    typed: bool = False

    @property
    def root(self) -> str:
        """What stands before the dialect's own ending, as a base URL is written."""
        endings = {"chat": "/chat/completions", "responses": "/responses", "messages": "/v1/messages"}
        assert self.path.endswith(endings[self.dialect]), self.path
        return self.path.removesuffix(endings[self.dialect])


@dataclass(frozen=True)
class Server:
    """One provider."""

    name: str
    model: str
    key: str
    doors: Mapping[str, Door]
    user_headers: Mapping[str, str] = field(default_factory=dict)

    def serving(self, dialect: str) -> "Server":
        """The same server with one dialect only, and the model it has there."""
        return replace(self, model=self.doors[dialect].model, doors={dialect: self.doors[dialect]})

    def dialect(self, path: str) -> str:
        """What is spoken at this path, '' for nothing."""
        return next((door.dialect for door in self.doors.values() if door.path == path), "")

    def check(self, exchange: Exchange, ledger: Ledger) -> None:
        """Raise `MalformedError` for the first rule that the request breaks."""
        door = self.doors[exchange.dialect]
        self._check_key(exchange.headers)
        breach = next(self.breaches(door, exchange, ledger), None)
        if breach:
            raise breach
        self._check_form(door, exchange, ledger)

    def breaches(self, door: Door, exchange: Exchange, ledger: Ledger) -> Iterator[MalformedError]:
        """What the request breaks of the server's own rules."""
        asked = Asked(door.dialect, exchange.body, exchange.headers, ledger, door.words["fields"])
        for data in door.rules:
            for details in RULES[data["rule"]](asked, data) if applies(asked, data) else ():
                says = data["says"]
                for name, value in details.items():
                    says = says.replace(f"{{{name}}}", str(value))
                code = data.get("code", "invalid_request_error")
                yield MalformedError(says, param=details.get("field"), code=code, status=data.get("status", 400))

    def _check_key(self, headers: Mapping[str, str]) -> None:
        if self.key == "none":
            return
        expected = f"Bearer {KEY}" if self.key == "authorization" else KEY
        if headers.get(self.key) != expected:
            raise MalformedError(f"no key in the header {self.key}", code="invalid_api_key", status=401)

    def _check_form(self, door: Door, exchange: Exchange, ledger: Ledger) -> None:
        words = door.words
        if door.dialect == "responses":
            ResponsesRules(door.model, any_field=True, typed=door.typed).check(exchange.body, ledger)
        elif door.dialect == "messages":
            signed = door.stream.get("signature", "sealed") == "sealed"
            rules = MessagesRules(door.model, any_field=True, mid_system=door.mid_system, signed=signed)
            rules.check(exchange.body, exchange.headers, ledger)
        else:
            Rules(
                door.model,
                any_field=True,
                top_level=words["fields"],
                message_keys=words["message_fields"],
                part_keys=words["part_fields"],
                call_keys=words["call_fields"],
                part_types=words["part_types"],
                efforts=EFFORTS | words["efforts"],
                tool_images=door.tool_images,
            ).check(exchange.body)

    def render(self, exchange: Exchange, say: Say, ledger: Ledger) -> Wire:
        """The bytes for `say`, in this server's way."""
        door, number = self.doors[exchange.dialect], ledger.number()
        token = sealed(number)
        if door.dialect == "chat":
            extra = [more for name, more in door.stream_with.items() if at(exchange.body, name)]
            style = Style(**reduce(or_, extra, door.stream))
            say = style.named(say if style.reasoning != "none" else Say(say.text, say.calls, usage=say.usage))
            ledger.record(say, token)
            if not exchange.streaming:
                return style.whole(say, door.model, token)
            asked = bool((exchange.body.get("stream_options") or {}).get("include_usage"))
            return style.streamed(say, door.model, token, include_usage=asked)
        token = "" if door.stream.get("signature") == "empty" else token
        ledger.record(say, token)
        if door.dialect == "responses":
            ledger.items.update(item["id"] for item in responses_replies.output(say, number, token))
            render = responses_replies.streamed if exchange.streaming else responses_replies.whole
        else:
            render = messages_replies.streamed if exchange.streaming else messages_replies.whole
        wire = render(say, door.model, number, token)
        return wire.sliced(door.stream["slice"]) if door.stream.get("slice") else wire

    def refuse(self, exchange: Exchange, error: MalformedError) -> Wire:
        """The answer to a request that broke a rule, in this server's form."""
        kind = KINDS.get(error.status, "invalid_request_error")
        facts = {"message": str(error), "status": error.status, "code": error.code, "param": error.param, "kind": kind}
        body = filled(self.doors[exchange.dialect].error, facts)
        if isinstance(body, str):
            return Wire((body.encode(),), status=error.status, headers={"content-type": "text/plain"})
        return Wire((json.dumps(body).encode(),), status=error.status)


def filled(template: Any, facts: Mapping[str, Any]) -> Any:
    """A template with its placeholders filled; a string that is nothing but one keeps the value's type."""
    if isinstance(template, dict):
        return {name: filled(value, facts) for name, value in template.items()}
    if isinstance(template, list):
        return [filled(value, facts) for value in template]
    if not isinstance(template, str):
        return template
    for name, value in facts.items():
        if template == f"{{{name}}}":
            return value
        template = template.replace(f"{{{name}}}", str(value))
    return template


@cache
def servers() -> Mapping[str, Server]:
    """Every described server by the name of its preset."""
    found = sorted(FOLDER.glob("*/server.toml"))
    return {path.parent.name: server(path.parent.name, tomllib.loads(path.read_text("utf-8"))) for path in found}


def server(name: str, table: Json) -> Server:
    """The server that a table describes."""
    doors = {}
    for dialect in [dialect for dialect in DIALECTS if dialect in table]:
        error = ANTHROPIC if dialect == "messages" else table.get("error", OPENAI)
        doors[dialect] = _door(dialect, {"model": table["model"], "error": error, **table[dialect]})
    unknown = set(table) - set(doors) - {"model", "key", "error", "user_headers"}
    assert not unknown, f"{name}: unknown keys {sorted(unknown)}"
    return Server(name, table["model"], table.get("key", "authorization"), doors, table.get("user_headers", {}))


def _door(dialect: str, table: Json) -> Door:
    names = ("fields", "message_fields", "part_fields", "call_fields", "part_types", "efforts")
    flags = (
        "path",
        "model",
        "error",
        "stream",
        "stream_with",
        "tool_images",
        "mid_system",
        "returns",
        "lossless",
        "typed",
    )
    unknown = set(table) - {*names, *flags, "rules"}
    assert not unknown, f"{dialect}: unknown keys {sorted(unknown)}"
    for data in table.get("rules", ()):
        assert data["rule"] in RULES, data
        assert data.get("says"), data
    return Door(
        dialect,
        rules=tuple(table.get("rules", ())),
        words={name: frozenset(table.get(name, ())) for name in names},
        **{name: table[name] for name in flags if name in table},
    )
