"""What is asked of a model in Chat Completions, one topic after the other."""

from __future__ import annotations

from latimer.dialects.errors.overflow import read_output_limit, read_overflow

from .answers import Reply
from .endpoints import weigh_tools
from .questions import (
    CALL_TOOL,
    CALL_TWICE,
    CHAT_TOOL,
    COUNT,
    HUGE,
    IMAGE,
    LONG_ID,
    LONG_NAME,
    LONG_TEXT,
    LOOK,
    NAMED,
    SAY_OK,
    SHORT_ID,
    TOOL_NAME,
    Body,
    assistant,
    system,
    tool_turn,
    user,
)
from .talk import Answering, Asking, Talk

TEXT_FIELDS = frozenset({"reasoning_content", "reasoning", "reasoning_text"})
"""Fields of reasoning that is plain text, which can be sent back as it is."""


def unknown_fields(talk: Talk) -> Asking:
    """Whether a field that nobody has is refused: then a field that is taken is a field that is known."""
    reply = yield from talk.ask("unknown fields", latimer_probe=True)
    if reply.verdict in ("taken", "refused"):
        talk.strict = reply.verdict == "refused"
    if talk.strict:
        talk.note("unknown fields", "no", f"refused: {reply.said}", reply)
    else:
        talk.judge("unknown fields", reply, seen="ignored, so taking a field proves nothing")


def streaming(talk: Talk) -> Asking:
    """Whether there is a stream, and how it is made to carry usage."""
    plain = yield from talk.ask("streaming", stream=True)
    talk.judge("streaming", plain, shown=plain.complete, seen="it streams to its end", unseen="the stream has no end")
    if plain.verdict != "taken":
        return
    talk.chat.streams = plain.complete
    asked = yield from talk.ask("stream_options", stream=True, stream_options={"include_usage": True})
    talk.judge("usage in streams, asked for", asked, shown=asked.usage, unseen="taken, but no usage comes")
    talk.note(
        "usage in streams, unasked",
        "yes" if plain.usage else "no",
        "it came by itself" if plain.usage else "none came",
        plain,
    )
    if asked.verdict == "refused":
        talk.set("request", "usage", "unasked", "stream_options are refused")


def tools(talk: Talk) -> Asking:
    """Tools, and which values of `tool_choice` are taken. Without tools there is nothing more to ask about them."""
    streamed: Body = {"stream": True} if talk.chat.streams else {}
    offer: Body = {"messages": [user(CALL_TOOL)], "tools": [CHAT_TOOL]}
    reply = yield from talk.ask("tools", room=True, **offer, **streamed)
    weigh_tools(talk.chat, reply)
    talk.judge(
        "tools",
        reply,
        shown=bool(reply.calls),
        seen="the model called the tool",
        unseen="taken, but the model did not call the tool",
    )
    if reply.verdict == "refused":
        return
    yield from _choices(talk)
    yield from _parallel(talk)
    yield from _names(talk)
    yield from _history(talk)


def _choices(talk: Talk) -> Asking:
    offer: Body = {"messages": [user(CALL_TOOL)], "tools": [CHAT_TOOL]}
    known = talk.profile.tools.choices
    taken, refused = set(known), set()
    for word, value in (
        ("required", talk.profile.tools.required_word),
        ("named", NAMED),
        ("none", "none"),
        ("auto", "auto"),
    ):
        reply = yield from talk.ask(
            f"tool_choice {word}", room=word in ("required", "named"), tool_choice=value, **offer
        )
        if word == "required" and reply.verdict == "refused" and value == "required":
            reply = yield from _any(talk, reply)
        forces = word in ("required", "named")
        called = [call for call in reply.calls if call.name == TOOL_NAME]
        shown = bool(called) if forces else not reply.calls if word == "none" else None
        seen = "the model called the tool" if forces else "taken"
        talk.judge(f"tool_choice {word}", reply, shown=shown, seen=seen, unseen="taken, but the model did not obey")
        if reply.verdict == "refused":
            refused.add(word)
        elif forces and called:
            taken.add(word)
    words = ", ".join(sorted(refused))
    why = f"tool_choice is refused with: {words}" if refused else "the model obeys every tool_choice that is sent"
    talk.set("tools", "choices", frozenset(taken - refused), why)
    if "auto" in refused:
        talk.drop("tool_choice", "tool_choice is refused even as auto")


def _any(talk: Talk, refused: Reply) -> Answering:
    """Mistral's word for `required`."""
    again = yield from talk.ask(
        "tool_choice any", room=True, messages=[user(CALL_TOOL)], tools=[CHAT_TOOL], tool_choice="any"
    )
    if not again.calls:
        return refused
    talk.set("tools", "required_word", "any", "tool_choice any stands for required")
    return again


def _parallel(talk: Talk) -> Asking:
    both = yield from talk.ask("parallel tool calls", room=True, messages=[user(CALL_TWICE)], tools=[CHAT_TOOL])
    talk.judge(
        "parallel tool calls",
        both,
        shown=len(both.calls) > 1,
        seen=f"{len(both.calls)} calls in one turn",
        unseen=f"taken, but the model made {len(both.calls)}",
    )
    one = yield from talk.ask(
        "parallel_tool_calls", messages=[user(CALL_TOOL)], tools=[CHAT_TOOL], parallel_tool_calls=False
    )
    talk.judge("parallel_tool_calls: false", one)
    if one.verdict == "refused":
        talk.set("tools", "parallel", False, "parallel_tool_calls is refused")


def _names(talk: Talk) -> Asking:
    function = CHAT_TOOL["function"] | {"name": LONG_NAME}
    reply = yield from talk.ask("tool names", tools=[CHAT_TOOL | {"function": function}])
    talk.judge("tool names of 64 characters", reply)


def _history(talk: Talk) -> Asking:
    """Earlier calls and their results: which ids are taken, and whether reasoning has to go back, or must not."""
    plain = yield from talk.ask("tool results", messages=tool_turn(LONG_ID, "Sun"), tools=[CHAT_TOOL])
    short = plain
    if plain.verdict == "refused":
        short = yield from talk.ask("tool results", messages=tool_turn(SHORT_ID, "Sun"), tools=[CHAT_TOOL])
    if plain.verdict == "refused" and short.verdict == "taken":
        talk.note("tool call ids of 40 characters", "no", plain.said, plain)
        talk.set("tools", "id_pattern", "[A-Za-z0-9]{9}", "only tool call ids of nine letters and digits are taken")
    elif plain.verdict == "taken":
        talk.note("tool call ids of 40 characters", "yes", "taken", plain)
    if talk.reasoning in TEXT_FIELDS:
        yield from _replay(talk, short)
    else:
        talk.judge("tool results", short)


def _replay(talk: Talk, without: Reply) -> Asking:
    field = talk.reasoning
    thoughts = {field: "The user wants the weather in Paris."}
    back = yield from talk.ask("reasoning back", messages=tool_turn(SHORT_ID, "Sun", **thoughts), tools=[CHAT_TOOL])
    talk.judge("tool results", back if back.verdict == "taken" else without)
    talk.judge(f"reasoning sent back as {field}", back)
    if without.verdict == "taken" and back.verdict == "refused":
        talk.set("reasoning", "replay", "never", f"{field} is refused in the history")
    if without.verdict != "refused" or back.verdict != "taken":
        return
    talk.note("history without its reasoning", "no", without.said, without)
    if field == "reasoning_content":
        empty = yield from talk.ask(
            "empty reasoning", messages=tool_turn(SHORT_ID, "Sun", reasoning_content=""), tools=[CHAT_TOOL]
        )
        talk.judge("empty reasoning for what is lost", empty)
        if empty.verdict == "taken":
            talk.set("reasoning", "replay_missing", "empty", "the history must have reasoning, were it empty")


def output_limit(talk: Talk) -> Asking:
    """More tokens than there are, of a stream that is let go at once: a refusal names the limit and costs nothing."""
    if not talk.limit_field or not talk.chat.streams:
        talk.note("output limit", "not asked", "it needs a stream that can be let go")
        return
    huge: Body = {talk.limit_field: HUGE}
    reply = yield from talk.ask("output limit", glance=True, stream=True, **huge)
    limit = read_output_limit(reply.error.message, reply.error.param)
    over = read_overflow(reply.error.message, " ".join(reply.error.words), reply.status)
    if reply.verdict != "refused":
        talk.judge("output limit", reply, shown=False, unseen="none is named: so large a number is taken")
    elif limit:
        talk.note("output limit", "yes", f"{limit} tokens", reply)
        talk.set("request", "max_output", limit, f"the model gives at most {limit} tokens")
    else:
        talk.note("output limit", "unclear", reply.said, reply)
    window = over.window if over and reply.verdict == "refused" else None
    if window and not talk.told.facts.context_window:
        talk.note("context window", "yes", f"{window} tokens", reply)
        talk.set("request", "context_window", window, f"the context window is {window} tokens")


def stop_sequences(talk: Talk) -> Asking:
    """A stop sequence that the answer cannot but meet."""
    reply = yield from talk.ask("stop", room=True, messages=[user(COUNT)], stop=["five"])
    words = reply.text.lower()
    talk.judge("stop", reply, shown="four" in words and "five" not in words, seen="the answer ends there")
    if reply.verdict == "refused":
        talk.drop("stop", "stop is refused")


def roles(talk: Talk) -> Asking:
    """A system message in mid-conversation, two messages of the user's in a row, and the developer's role."""
    lead, more = system("Be brief."), system("Be polite.")
    mid = yield from talk.ask(
        "mid-conversation system", messages=[lead, user("Hello"), assistant("Hello."), more, user(SAY_OK)]
    )
    talk.judge("system message in mid-conversation", mid)
    developer = yield from talk.ask("developer role", messages=[system("Be brief.", "developer"), user(SAY_OK)])
    talk.judge("developer role", developer)
    if mid.verdict != "refused":
        return
    talk.set("messages", "mid_system", "tagged", "a system message is refused in mid-conversation")
    row = yield from talk.ask("two user messages", messages=[lead, user("Hello"), user(SAY_OK)])
    talk.judge("two user messages in a row", row)
    if row.verdict != "refused":
        return
    alone = yield from talk.ask("system message", messages=[lead, user(SAY_OK)])
    talk.judge("system message", alone)
    if alone.verdict == "taken":
        talk.set("messages", "merge_users", True, "two user messages in a row are refused")
    elif alone.verdict == "refused" and developer.verdict == "taken":
        talk.set("messages", "system_role", "developer", "instructions are taken from the developer only")


def images(talk: Talk) -> Asking:
    """A red image, and one in a tool's result. An engine's own word counts more than what its model says."""
    if talk.told.facts.images is False:
        talk.note("images", "no", "the server lists none")
        talk.set("media", "images", False, "the model takes no images")
        return
    reply = yield from talk.ask("images", room=True, messages=[user([{"type": "text", "text": LOOK}, IMAGE])])
    sees = "red" in reply.text.lower()
    talk.judge("images", reply, shown=sees, seen="it saw the colour", unseen="taken, but it did not say the colour")
    if reply.verdict == "refused":
        talk.set("media", "images", False, "images are refused")
    elif sees:
        talk.set("media", "images", True, "the model sees images")
    if reply.verdict != "taken" or talk.chat.tools is False:
        return
    messages = tool_turn(SHORT_ID, [{"type": "text", "text": LOOK}, IMAGE])
    inside = yield from talk.ask("images in tool results", room=True, messages=messages, tools=[CHAT_TOOL])
    sees = "red" in inside.text.lower()
    talk.judge("images in tool results", inside, shown=sees, seen="it saw the colour")
    if inside.verdict == "refused":
        talk.set("media", "tool_images", "next_user", "images in tool results are refused")
    elif sees:
        talk.set("media", "tool_images", "native", "the model sees images in tool results")


def caching(talk: Talk) -> Asking:
    """The same long prompt twice, unless an answer has counted cached tokens already."""
    messages = [system(LONG_TEXT), user(SAY_OK)]
    for _ in range(2):
        if talk.cached is None:
            reply = yield from talk.ask("prompt caching", messages=messages)
            if reply.verdict != "taken":
                break
    if talk.cached is None:
        talk.judge("prompt caching", reply, shown=False, unseen="no cached tokens are counted")
    else:
        talk.note("prompt caching", "yes", f"{talk.cached.cached_tokens} tokens came from a cache", talk.cached)
