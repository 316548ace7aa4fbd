"""Structured output, in each dialect that works: a schema that is taken need not be kept.

llama.cpp keeps a schema in Chat Completions, and ignores it in its other dialects without a word.
"""

from __future__ import annotations

from latimer.profile import Dialect

from .answers import Reply
from .endpoints import TITLES
from .questions import ANSWER_FORM, JSON_OBJECT, JSON_SCHEMA, SAY_JSON, user
from .talk import Asking, Talk

UNSEEN = "taken, but the answer is not JSON"


def is_formed(reply: Reply) -> bool:
    """Whether an answer has the form of `ANSWER_FORM`, which nothing but a schema asked for."""
    return reply.text.strip().startswith("{") and '"word"' in reply.text


def structured(talk: Talk) -> Asking:
    """JSON by schema, else JSON at all, which OpenAI gives only where the prompt speaks of it."""
    known = talk.profile.request.json_schema
    schema = yield from talk.ask("json_schema", room=True, response_format=JSON_SCHEMA)
    _weigh(talk, "chat", "json_schema", schema)
    if schema.verdict != "refused":
        return
    plain = yield from talk.ask("json_object", room=True, messages=[user(SAY_JSON)], response_format=JSON_OBJECT)
    talk.judge("json_object", plain, shown=is_formed(plain), seen="the answer keeps to it", unseen=UNSEEN)
    if plain.verdict == "refused":
        talk.set("request", "json_schema", "prompt", "response_format is refused")
    elif plain.verdict == "taken" and known == "json_schema":
        talk.set("request", "json_schema", "json_object", "response_format is taken without a schema only")


def structured_elsewhere(talk: Talk) -> Asking:
    """The same schema in the other dialects that work."""
    if "responses" in talk.standing and talk.standing["responses"].works:
        text = {"format": {"type": "json_schema"} | JSON_SCHEMA["json_schema"]}
        reply = yield from talk.ask("text.format", "responses", room=True, text=text)
        _weigh(talk, "responses", f"json_schema in {TITLES['responses']}", reply)
    if "messages" in talk.standing and talk.standing["messages"].works:
        form = {"format": {"type": "json_schema", "schema": ANSWER_FORM}}
        reply = yield from talk.ask("output_config.format", "messages", room=True, output_config=form)
        _weigh(talk, "messages", f"json_schema in {TITLES['messages']}", reply)
        known = talk.profile.native.output_config
        if is_formed(reply):
            talk.set("native", "output_config", known | {"format"}, "the Messages API takes a schema")
        elif reply.verdict == "refused":
            talk.set("native", "output_config", known - {"format"}, "the Messages API takes no schema")


def note_ignored_schema(talk: Talk, dialect: Dialect) -> None:
    """Where `dialect`, which is going to be asked, ignores a schema to which the model can keep: into the prompt."""
    others = [each for other, each in talk.standing.items() if other != dialect]
    if talk.standing[dialect].schema is not False or not any(each.schema for each in others):
        return
    if dialect == "responses":
        talk.set("request", "json_schema", "prompt", "Responses takes a schema, but the answer does not keep to it")
    elif dialect == "messages":
        known = talk.profile.native.output_config
        talk.set("native", "output_config", known - {"format"}, "Messages takes a schema, but does not keep to it")


def _weigh(talk: Talk, dialect: Dialect, capability: str, reply: Reply) -> None:
    talk.judge(capability, reply, shown=is_formed(reply), seen="the answer keeps to it", unseen=UNSEEN)
    if reply.verdict in ("taken", "refused"):
        talk.standing[dialect].schema = is_formed(reply)
