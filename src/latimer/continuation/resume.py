"""What is done when an upstream dies in the middle of an answer: end it, ask for the rest, or tell of the failure.

a whole tool call was shown   the answer ends there; the client runs the call, and the model goes on after it
text was shown                the model is shown its own text and asked for what follows
nothing but thinking          the request is made once more, and its answer follows
"""

from __future__ import annotations

from typing import Any

from msgspec import json
from msgspec.structs import replace

from latimer.dialects.messages.native.rebuild import given_members
from latimer.dialects.messages.request import Message, Request
from latimer.events import CHARS_PER_TOKEN, BlockStop, Event, Finish, Reasoning, Text, Usage
from latimer.profile import Profile
from latimer.report import Loss
from latimer.wire import messages as wire
from latimer.wire.splice import members, splice

from .overlap import Overlap, last_words
from .seam import Seam
from .shown import Shown

ENDED = "the provider broke off after a whole tool call, so the answer ends with it"

INSTRUCTION = """\
<system-reminder>
The connection broke while you were writing your last message. The reader has it exactly as it stands above. Finish \
it: no apology, no remark, no summary, no second beginning. So that the two parts can be joined, first repeat these \
last words of it, exactly and without quotation marks; they are shown only once:
{words}
Then write on from there, tool calls included. If nothing was missing, stop after the repeated words.
</system-reminder>"""


class Resume:
    """An answer that goes on where it broke off."""

    def __init__(self, request: Request, shown: Shown) -> None:
        self._request = request
        self._shown = shown
        self._text = shown.text
        self._seam: Seam | None = None

    @property
    def usage(self) -> Usage | None:
        """What the newest attempt took, None while it has not ended well."""
        return self._seam.usage if self._seam else None

    @property
    def extra(self) -> str:
        """What is sent along of the answer."""
        return self._text if self._text.strip() else ""

    def request(self, profile: Profile) -> Request:
        """What is asked of an upstream with this profile."""
        body = replace(self._request.body, max_tokens=self._room())
        return replace(self._request, body=body, messages=[*self._request.messages, *self._added(profile)])

    def raw(self, raw: bytes | None, profile: Profile) -> bytes | None:
        """The same as JSON: the client's bytes, if they go as they are, with what is added at their end."""
        if raw is None:
            return None
        changes: dict[str, bytes | None] = {"max_tokens": b"%d" % self._room()}
        if added := [_written(message) for message in self._added(profile)]:
            messages = bytes(members(raw)["messages"])
            changes["messages"] = messages[:-1] + b"," + json.encode(added)[1:]
        return splice(raw, changes)

    def begin(self, profile: Profile) -> Seam:
        """The stage of one attempt."""
        asked = not self._prefills(profile)
        again = -(-len(self.extra) // CHARS_PER_TOKEN)
        self._seam = Seam(self._shown, Overlap(self._text, asked=asked), again=again)
        return self._seam

    def _added(self, profile: Profile) -> list[Message]:
        """The messages after those of the client: none where it has been shown no words."""
        if not self.extra:
            return []
        place = self._request.messages[-1].index + 1
        answer = Message(place, "assistant", self._blocks())
        if self._prefills(profile):
            return [answer]
        words = INSTRUCTION.format(words=last_words(self._text))
        return [answer, Message(place + 1, "user", [wire.TextBlock(words)])]

    def _prefills(self, profile: Profile) -> bool:
        """Whether the upstream goes on with the beginning of an answer, in which no word stands twice."""
        rules = profile.messages.prefill == "native" and profile.endpoint.dialect == "chat"
        return rules and bool(self.extra) and self._text == self._text.rstrip()

    def _room(self) -> int:
        """What is left of `max_tokens`; a budget for thinking must stay below it."""
        thinking = self._request.thinking
        budget = (thinking.budget_tokens or 0) if thinking else 0
        limit = self._request.body.max_tokens
        return max(limit - self._shown.tokens, min(limit, budget + 1))

    def _blocks(self) -> list[wire.RequestBlock]:
        """The answer as the client would send it back, without thinking that nobody has signed."""
        blocks: list[wire.RequestBlock] = []
        for said in self._shown.said:
            if isinstance(said.block, Text) and said.text.strip():
                blocks.append(wire.TextBlock(said.text))
            if isinstance(said.block, Reasoning) and said.signature:
                thought = "" if self._request.hides_thinking else said.text
                blocks.append(wire.ThinkingBlock(thought, said.signature))
        return blocks


def _written(message: Message) -> dict[str, Any]:
    blocks = [{"type": block.__struct_config__.tag, **given_members(block)} for block in message.blocks]
    return {"role": message.role, "content": blocks}


def resume(request: Request, shown: Shown) -> Resume | None:
    """How the answer goes on; None where it cannot, and the client is told of the failure.

    A schema would be begun anew, and so would a call that is forced; a beginning of the client's own is no answer's.
    """
    if shown.strange or shown.called or shown.tokens >= request.body.max_tokens:
        return None
    forced = request.tool_choice is not None and request.tool_choice.type in ("any", "tool")
    if shown.text.strip() and (forced or request.output_config.format or request.messages[-1].role == "assistant"):
        return None
    return Resume(request, shown)


def closing(shown: Shown) -> list[Event]:
    """The end of a block that is not gone on with: thinking that was cut off, and whatever follows a tool call."""
    open_block = shown.open
    if open_block is None or (isinstance(open_block.block, Text) and not shown.called):
        return []
    return [BlockStop(len(shown.said) - 1)]


def ending(shown: Shown) -> Finish | None:
    """The end of an answer with a tool call in it: the client runs the call, which nobody has to make again."""
    if not shown.called:
        return None
    usage = Usage(shown.usage.input_tokens, shown.tokens, shown.usage.cache_read_tokens, shown.usage.cache_write_tokens)
    return Finish("tool_call", usage, losses=(Loss("content", "emulated", ENDED),))
