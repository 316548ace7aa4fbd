"""One answer in which Latimer runs tools: several rounds with the model, one message for the client.

A `Turn` decides and remembers; `latimer.shell.server_tools` does the waiting. What was said so far is kept as the
client gets it, and the next round's request is what the client itself would send back.
"""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec import Struct, json
from msgspec.structs import replace

from latimer.dialects.messages.admit import admit_block
from latimer.dialects.messages.encoder import DIALECT, Heading, WholeEncoder
from latimer.dialects.messages.request import Message, Request
from latimer.events import (
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    Opaque,
    OpaqueDelta,
    Signature,
    Start,
    Text,
    ToolCall,
    Usage,
)
from latimer.wire.json_text import UNREADABLE, mend_surrogates

from .history import unfold
from .plan import Plan, ServerTool, functions
from .results import RESULT_OF, ToolFailure, error_content

MAX_ROUNDS = 8
"""How often the model is asked before the client has to say whether it should go on."""
MAX_CALLS = 16
"""How many calls of one kind are run in one answer when the client sets no `max_uses`."""

COUNTED = {"web_search": Usage(web_searches=1), "web_fetch": Usage(web_fetches=1)}

HOW = {
    "web_search": "Web search is not available on this gateway. To switch it on, set [web_search] backend in Latimer's"
    ' configuration (docs/web-tools.md), for instance backend = "duckduckgo", which needs no key.',
    "web_fetch": "Web fetch is not available on this gateway. To switch it on, set [web_fetch] enabled = true in"
    " Latimer's configuration (docs/web-tools.md).",
}


class ServerCall(Struct, frozen=True):
    """A call that Latimer has to run. `input` is None when the model wrote no JSON object."""

    id: str
    tool: ServerTool
    input: dict[str, Any] | None

    def text(self, key: str) -> str:
        """One field of the input. Raises `ToolFailure` when it is missing."""
        value = (self.input or {}).get(key)
        if not isinstance(value, str) or not value.strip():
            raise ToolFailure("invalid_tool_input")
        return value.strip()


class Turn:
    """The rounds of one answer."""

    def __init__(self, request: Request, plan: Plan, heading: Heading) -> None:
        self.request = request
        self.plan = plan
        self.content: list[Any] = []
        """The blocks of the message so far, those of unfinished rounds left out."""
        self.heading = heading
        self._usage = Usage()
        self._rounds = 0
        self._blocks = 0
        self._uses: dict[str, int] = {}
        self._round: Round | None = None

    @property
    def round_usage(self) -> Usage | None:
        """What the newest round took, None while it has not ended well."""
        return self._round.usage if self._round else None

    def begin(self) -> Round:
        """The stage of one attempt at the next round."""
        self._round = Round(self, self._blocks, self._usage)
        return self._round

    def settle(self) -> list[ServerCall]:
        """The calls to run now that a round is over; none when that was the answer."""
        ended = self._round
        if ended is None or ended.held is None:
            return []
        self._rounds += 1
        self._usage += ended.held.usage
        self._blocks, self.content = ended.blocks, ended.content
        return ended.calls

    def admit(self, call: ServerCall) -> None:
        """Raise `ToolFailure` for a call beyond what may be run."""
        used = self._uses[call.tool.function] = self._uses.get(call.tool.function, 0) + 1
        limit = call.tool.asked.max_uses
        if used > (MAX_CALLS if limit is None else limit):
            raise ToolFailure("max_uses_exceeded")

    def show(self, call: ServerCall, content: Any) -> list[Event]:
        """A result, for the client and for the rounds to come."""
        if "error_code" not in content:
            self._usage += COUNTED.get(call.tool.kind, Usage())
        block = {"type": RESULT_OF[call.tool.kind], "tool_use_id": call.id, "content": content}
        index = self._blocks
        self._blocks, self.content = index + 1, [*self.content, block]
        return [BlockStart(index, Opaque(DIALECT, json.encode(block))), BlockStop(index)]

    def go_on(self) -> Request | Finish:
        """The next round's request, or the end: the client has calls of its own to run, or it has been enough."""
        assert self._round is not None
        if self._round.client_calls:
            return Finish("tool_call", self._usage)
        if self._rounds >= MAX_ROUNDS:
            return Finish("pause", self._usage)
        choice = self.request.tool_choice
        if choice and choice.type in ("any", "tool"):  # it was obeyed; again would be without end
            choice = replace(choice, type="auto", name=None)
        return replace(self.so_far(), tool_choice=choice)

    def so_far(self) -> Request:
        """The conversation with what has been said and found in this turn, as the client would send it back."""
        said = [admit_block(json.encode(block), "", []) for block in self.content]
        message = Message(self.request.messages[-1].index + 1, "assistant", said)
        return replace(self.request, messages=[*self.request.messages, *unfold([message], functions(self.plan))])

    def decline(self) -> list[Event]:
        """The whole answer where nothing that was offered can be run: honest, and in the form the client expects.

        A 400 would make Claude Code try six shapes of the same request.
        """
        events: list[Event] = [Start(self.heading.id, self.heading.model)]
        query = _last_words(self.request)
        for index, kind in enumerate(dict.fromkeys(self.plan.missing)):
            identity, place = _identity(self.heading.id, index), index * 2
            key = "url" if kind == "web_fetch" else "query"
            events += _shown_call(place, identity, kind, json.encode({key: query}).decode())
            result = {"type": RESULT_OF[kind], "tool_use_id": identity, "content": error_content(kind, "unavailable")}
            events += [BlockStart(place + 1, Opaque(DIALECT, json.encode(result))), BlockStop(place + 1)]
        words = "\n\n".join(HOW[kind] for kind in dict.fromkeys(self.plan.missing))
        index = 2 * len(set(self.plan.missing))
        return [*events, BlockStart(index, Text()), Delta(index, words), BlockStop(index), Finish("stop", Usage())]


class Round:
    """The stage of one round: the model's calls of server tools are shown as such, and its end is held back for them.

    The input of such a call is small, so it is shown when it is whole: what is cut off is never run.
    """

    idle = False

    def __init__(self, turn: Turn, blocks: int, before: Usage) -> None:
        self.done = False
        self.calls: list[ServerCall] = []
        self.client_calls = False
        self.held: Finish | None = None
        self.usage: Usage | None = None
        self.blocks = blocks
        self._plan = turn.plan
        self._heading = turn.heading
        self._before = before
        self._first = not blocks
        self._fold = WholeEncoder(turn.heading, turn.content)
        self._open: ServerTool | None = None
        self._input: list[str] = []

    @property
    def content(self) -> list[Any]:
        """The message's blocks up to here."""
        return self._fold.content

    def pass_on(self, event: Event) -> list[Event]:
        shown = self._shown(event)
        for each in shown:
            if isinstance(each, BlockStart | Delta | Signature | OpaqueDelta | BlockStop):
                self._fold.encode(each)
        return shown

    def _shown(self, event: Event) -> list[Event]:
        match event:
            case Start():
                return [event] if self._first else []
            case BlockStart(block=ToolCall(name=name)) if name in self._plan.tools:
                self._open, self._input = self._plan.tools[name], []
                return []
            case BlockStart(block=block):
                self.client_calls = self.client_calls or isinstance(block, ToolCall)
                self.blocks += 1
                return [BlockStart(self.blocks - 1, block)]
            case Delta(data=data) if self._open:
                self._input.append(data)
                return []
            case BlockStop() if self._open:
                return self._call(self._open)
            case Signature() | OpaqueDelta() if self._open:
                return []
            case Delta() | Signature() | OpaqueDelta() | BlockStop():
                return [replace(event, index=self.blocks - 1)]
            case Finish():
                return self._finish(event)
            case _:
                return [event]

    def _call(self, tool: ServerTool) -> list[Event]:
        self._open = None
        place = self.blocks
        self.blocks += 1
        text = "".join(self._input) or "{}"
        parsed = _object(text)
        call = ServerCall(_identity(self._heading.id, place), tool, parsed)
        self.calls.append(call)
        return _shown_call(place, call.id, tool.name, "{}" if parsed is None else text)

    def _finish(self, event: Finish) -> list[Event]:
        self.usage = event.usage
        whole = event.reason in ("stop", "tool_call") and event.stop_sequence is None
        if self.calls and whole:
            self.held = event
            return []
        return [replace(event, usage=self._before + event.usage)]


def _shown_call(place: int, id: str, name: str, arguments: str) -> list[Event]:
    block = {"type": "server_tool_use", "id": id, "name": name, "input": {}}
    delta = {"type": "input_json_delta", "partial_json": arguments}
    start = BlockStart(place, Opaque(DIALECT, json.encode(block)))
    return [start, OpaqueDelta(place, json.encode(delta)), BlockStop(place)]


def _identity(message_id: str, place: int) -> str:
    """Unique as the message's id is. The model's own id would not do: it need not be unique, nor of this form."""
    return f"srvtoolu_{hashlib.sha256(f'{message_id}:{place}'.encode()).hexdigest()[:24]}"


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.decode(mend_surrogates(text.encode()))
    except UNREADABLE:
        return None
    return value if isinstance(value, dict) else None


def _last_words(request: Request) -> str:
    """What the user asked for last, as a query that was never run."""
    texts = [block.text for message in request.messages for block in message.blocks if hasattr(block, "text")]
    return texts[-1].rpartition("Perform a web search for the query: ")[2][:200] if texts else ""
