"""Which dialects there are, and how each does with tools and streams."""

from __future__ import annotations

from latimer.profile import Dialect

from .answers import Reply
from .questions import CALL_TOOL, MESSAGES_TOOL, RESPONSES_TOOL, Body, user
from .talk import Answering, Asking, Standing, Talk, give_up, is_fatal, is_missing

LIMIT_FIELDS = ("max_tokens", "max_completion_tokens", "")
TITLES: dict[Dialect, str] = {
    "chat": "Chat Completions",
    "responses": "Responses",
    "messages": "Messages",
}


def endpoints(talk: Talk) -> Asking:
    """Ask each dialect's endpoint for one word. Raises Rejection when none of them answers."""
    first: Reply | None = None
    missing: set[Dialect] = set()
    for dialect in talk.standing:
        if dialect == "chat":
            reply = yield from _open_chat(talk)
        else:
            reply = yield from talk.ask(dialect, dialect)
        first = first or reply
        _note(talk, dialect, reply)
        if is_missing(reply):
            missing.add(dialect)
    if first is not None and not any(standing.works for standing in talk.standing.values()):
        give_up(first)
    talk.set("endpoint", "missing", frozenset(missing), _lacks(missing))
    for dialect in ("responses", "messages"):
        standing = talk.standing.get(dialect)
        if standing and standing.works:
            yield from _tools_in_a_stream(talk, dialect, standing)
    if "messages" in talk.standing and talk.standing["messages"].works:
        yield from _counting(talk)


def _lacks(missing: set[Dialect]) -> str:
    return f"the upstream lacks {', '.join(sorted(missing))}" if missing else "the upstream has every dialect"


def _open_chat(talk: Talk) -> Answering:
    """The smallest request, under each name that the limit of tokens has."""
    reply = yield from talk.ask("chat")
    if is_fatal(reply):
        give_up(reply)
    known = talk.limit_field
    for name in LIMIT_FIELDS:
        if reply.verdict != "refused" or is_missing(reply) or name == known:
            continue
        talk.limit_field = name
        again = yield from talk.ask("max_tokens")
        reply = again if again.verdict == "taken" else reply
    if reply.verdict != "taken" or talk.limit_field == known:
        talk.limit_field = talk.limit_field if reply.verdict == "taken" else known
        return reply
    if talk.limit_field:
        talk.set("request", "max_tokens_field", talk.limit_field, f"the limit of tokens is called {talk.limit_field}")
    else:
        for name in LIMIT_FIELDS[:2]:
            talk.drop(name, "no limit of tokens is taken")
    return reply


def _note(talk: Talk, dialect: Dialect, reply: Reply) -> None:
    standing = talk.standing[dialect]
    standing.works = reply.verdict == "taken"
    standing.reasons = bool(reply.reasoning)
    if reply.status and reply.verdict != "taken" and (is_missing(reply) or is_fatal(reply)):
        talk.note(TITLES[dialect], "no", reply.said, reply)
    elif reply.verdict == "refused":
        talk.note(TITLES[dialect], "unclear", f"it is there, but refuses: {reply.said}", reply)
    else:
        talk.judge(TITLES[dialect], reply, seen="it answers")


def _tools_in_a_stream(talk: Talk, dialect: Dialect, standing: Standing) -> Asking:
    if dialect == "messages":
        fields: Body = {"messages": [user(CALL_TOOL)], "tools": [MESSAGES_TOOL]}
    else:
        fields = {"input": CALL_TOOL, "tools": [RESPONSES_TOOL]}
    reply = yield from talk.ask("tools", dialect, room=True, stream=True, **fields)
    weigh_tools(standing, reply)
    called = "the model called the tool" if reply.complete else "the model called the tool, but the stream has no end"
    uncalled = "taken, but the model did not call the tool" if reply.complete else "taken, but the stream has no end"
    talk.judge(
        f"tools in {TITLES[dialect]}", reply, shown=bool(reply.calls) and reply.complete, seen=called, unseen=uncalled
    )


def weigh_tools(standing: Standing, reply: Reply) -> None:
    """What a request with tools and a stream says of a dialect."""
    if reply.verdict not in ("taken", "refused"):
        return
    standing.tools = reply.verdict == "taken"
    standing.streams = reply.complete and all(call.whole for call in reply.calls)
    standing.reasons = standing.reasons or bool(reply.reasoning)


def _counting(talk: Talk) -> Asking:
    reply = yield from talk.ask("count_tokens", "messages", path="/count_tokens", max_tokens=None)
    counted = reply.verdict == "taken" and reply.input_tokens > 0
    talk.judge("count_tokens", reply, shown=counted, seen="it counts")
    if reply.verdict == "refused" or counted:
        talk.set(
            "endpoint",
            "count_tokens",
            counted,
            "the Messages API " + ("counts" if counted else "counts no") + " tokens",
        )
