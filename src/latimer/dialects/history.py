"""History: the client's messages in an order that every server takes, whatever the dialect.

OpenAI's APIs want the results of an assistant turn's calls right after it, one for each call. Anthropic puts the
results into the next user message, beside other content; Claude Code may put system messages after them, and Esc or a
compaction may leave calls without results. Each function here depends on the messages alone, so the same beginning of
a conversation gives the same bytes every turn.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from latimer.dialects.content import INTERRUPTED_OUTPUT, ToolOutput, texts_only, tool_output, user_parts
from latimer.dialects.context import Context
from latimer.dialects.messages.request import Request
from latimer.dialects.messages.slots import FOREIGN_REASONING
from latimer.dialects.parts import Part, TextPart
from latimer.dialects.sealing import Sealed, unseal
from latimer.dialects.tools import CallIds, upstream_name
from latimer.errors import invalid
from latimer.wire import messages as wire

Item = tuple[str, wire.RequestBlock]
"""A block and its path in the client's request."""

EMPTY_TURN = "(no content)"
UNMARKED = "assistant messages carry no cache marks here"


class Turn(Struct, frozen=True):
    """Messages that are one to the upstream: Anthropic merges neighbouring assistant messages."""

    role: str
    items: list[Item]
    last_index: int


class Call(Struct, frozen=True):
    """A tool call of an assistant turn, with the id it has upstream."""

    path: str
    block: wire.ToolUseBlock
    id: str


class Exchange(Struct, frozen=True):
    """An assistant turn, its calls in their order, and all that was said before the next one."""

    turn: Turn
    calls: list[Call]
    results: dict[str, tuple[str, wire.ToolResultBlock]]
    """By the calls' upstream ids."""
    answered: bool
    """Whether anything follows: calls at the very end of a conversation wait for their results."""
    rest: list[Turn]
    """What else was said, in its order."""
    bearer: Turn | None
    """The one of `rest` that the first result was taken from."""


def arrange(request: Request, context: Context) -> list[Turn | Exchange]:
    """The conversation: user and system turns, and each assistant turn with what answers it.

    Raises `Rejection` for a conversation that ends in an assistant message, where the upstream takes none.
    """
    turns = _turns(request, context)
    ids = CallIds(context.profile.tools)
    arranged: list[Turn | Exchange] = []
    place = 0
    while place < len(turns):
        following = place + 1
        if turns[place].role == "assistant":
            while following < len(turns) and turns[following].role != "assistant":
                following += 1
            arranged.append(_exchange(turns[place], turns[place + 1 : following], ids))
        else:
            arranged.append(turns[place])
        place = following
    last = next((turn for turn in reversed(turns) if turn.items), None)
    if last and last.role == "assistant" and context.profile.messages.prefill == "reject":
        raise invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    return arranged


def _turns(request: Request, context: Context) -> list[Turn]:
    # Results of server tools stand inside the client's assistant messages: no user has spoken there.
    assistant = {m.index for m in request.messages if m.role == "assistant"}
    last_user = max((m.index for m in request.messages if m.role == "user" and m.index not in assistant), default=-1)
    turns: list[Turn] = []
    for message in request.messages:
        if message.clear_at == "next_user_message" and message.index < last_user:
            context.lose(f"messages.{message.index}.clear_at", "the message has served its turn", "emulated")
            continue
        items = [(message.path(place), block) for place, block in enumerate(message.blocks) if not _is_empty(block)]
        if message.role == "user" and not items:
            # Left out, it would put two assistant messages side by side, which chat templates refuse.
            context.lose(f"messages.{message.index}.content", "an empty message, sent as one that says so", "emulated")
            items = [(message.path(0), wire.TextBlock(EMPTY_TURN))]
        if turns and message.role == "assistant" == turns[-1].role:
            turns[-1] = Turn("assistant", turns[-1].items + items, message.index)
        else:
            turns.append(Turn(message.role, items, message.index))
    return turns


def _is_empty(block: wire.RequestBlock) -> bool:
    return isinstance(block, wire.TextBlock) and not block.text


def _exchange(turn: Turn, answers: list[Turn], ids: CallIds) -> Exchange:
    """Each call with its first result; a repeated id is answered in the order of its calls."""
    calls = [
        Call(path, block, ids.take(block.id)) for path, block in turn.items if isinstance(block, wire.ToolUseBlock)
    ]
    waiting = list(calls)
    found: dict[str, tuple[str, wire.ToolResultBlock]] = {}
    rest: list[Turn] = []
    bearer: Turn | None = None
    for answer in answers:
        others: list[Item] = []
        before = len(found)
        for path, block in answer.items:
            call = None
            if isinstance(block, wire.ToolResultBlock):
                call = next((call for call in waiting if call.block.id == block.tool_use_id), None)
            if call is None or not isinstance(block, wire.ToolResultBlock):
                others.append((path, block))
            else:
                waiting.remove(call)
                found[call.id] = (path, block)
        rest.append(Turn(answer.role, others, answer.last_index))
        if bearer is None and len(found) > before:
            bearer = rest[-1]
    return Exchange(turn, calls, found, bool(answers), rest, bearer)


def outputs(exchange: Exchange, context: Context) -> list[tuple[str, ToolOutput]]:
    """The results of an exchange's calls in call order, by upstream id; a missing one is made up for and reported."""
    made: list[tuple[str, ToolOutput]] = []
    for call in exchange.calls if exchange.answered else ():
        if call.id in exchange.results:
            path, block = exchange.results[call.id]
            made.append((call.id, tool_output(block, path, call.id, context)))
        else:
            context.lose(call.path, "the call has no result, so one that says so is added", "emulated")
            made.append((call.id, INTERRUPTED_OUTPUT))
    return made


def said(turn: Turn, context: Context) -> tuple[str, list[Part]]:
    """The role and the parts of a user or system turn; a system message becomes marked user text where only a leading
    one is taken. It keeps its place either way: moving it would break the cached prefix.
    """
    parts = [part for path, block in turn.items for part in user_parts(block, path, context)]
    rules = context.profile.messages
    if turn.role != "system":
        return "user", parts
    if rules.mid_system == "native" or not parts:
        return rules.system_role, parts
    why = "this model takes only one leading system message, so it is marked user text"
    context.lose(f"messages.{turn.last_index}.role", why, "approximated")
    text = "\n\n".join(texts_only(parts, f"messages.{turn.last_index}.content", context))
    marks = [part.mark for part in parts if part.mark is not None]
    if len(marks) > 1:
        field = f"messages.{turn.last_index}.content.*.cache_control"
        context.lose(field, "one text has one mark, the last one", "approximated")
    return "user", [TextPart(f"<system-reminder>\n{text}\n</system-reminder>", marks[-1] if marks else None)]


def leading_system(request: Request, context: Context) -> list[Part]:
    """The parts of the system prompt."""
    return [
        part for index, block in enumerate(request.system) for part in user_parts(block, f"system.{index}", context)
    ]


def said_by_assistant(path: str, block: wire.RequestBlock, context: Context) -> str:
    """The words of an assistant's block that is neither reasoning nor a call."""
    if not isinstance(block, wire.TextBlock):
        return "\n\n".join(texts_only(user_parts(block, path, context), path, context))
    context.lose_if_given(f"{path}.cache_control", block.cache_control, UNMARKED)
    context.lose_if_given(f"{path}.citations", block.citations, "the provider has no citations")
    return block.text


def opened_reasoning(
    path: str,
    block: wire.ThinkingBlock | wire.RedactedThinkingBlock,
    context: Context,
    carries: Callable[[Sealed], bool],
) -> tuple[Sealed, str] | None:
    """What a signature holds and the text its block shows; None, and a loss, for what is not this route's.

    `carries` says whether the dialect has a form for it: a route may have spoken another one before.
    """
    signature = block.signature if isinstance(block, wire.ThinkingBlock) else block.data
    sealed = unseal(signature, context.route)
    if sealed is None:
        context.lose(path, FOREIGN_REASONING)
        return None
    if not carries(sealed):
        context.lose(path, "this reasoning came in another dialect, which this one has no form for")
        return None
    if context.profile.reasoning.replay == "never" and not sealed.calls:
        context.lose(path, "this model takes no reasoning of earlier turns")
        return None
    return sealed, block.thinking if isinstance(block, wire.ThinkingBlock) else ""


def name_and_arguments(call: Call, context: Context) -> tuple[str, str]:
    """A call's upstream name, and its arguments as JSON text of an object."""
    path, block = call.path, call.block
    context.lose_if_given(f"{path}.cache_control", block.cache_control, UNMARKED)
    if wire.given(block.caller) and b'"direct"' not in bytes(block.caller):
        context.lose(f"{path}.caller", "the provider has only direct calls")
    name = block.name
    if block.toolset_name:
        context.lose(f"{path}.toolset_name", "the provider has no toolsets, so it is part of the name", "approximated")
        name = f"{block.toolset_name}__{name}"
    arguments = bytes(block.input).decode()
    if not arguments.startswith("{"):
        context.lose(f"{path}.input", "arguments must be an object", "approximated")
        arguments = '{"value":' + arguments + "}"
    return upstream_name(name), arguments
