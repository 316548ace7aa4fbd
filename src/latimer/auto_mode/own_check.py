"""Claude Code's own check of a tool call, which it makes with an ordinary request where no server reviews calls.

Seen with 2.1.197 and 2.1.330: not streamed, no tools, a first block that opens a transcript. It leaves 64 tokens for
the answer and switches thinking off; for ids it does not know it leaves thinking on, and 2112 tokens.
"""

from __future__ import annotations

from msgspec.structs import replace

from latimer.dialects.messages.request import Request
from latimer.report import Loss
from latimer.wire import messages as wire

OPENING = "<transcript>"


def is_own_check(request: Request) -> bool:
    """Whether the client asks for the verdict on one of its tool calls."""
    if request.body.stream or request.tools or len(request.messages) != 1:
        return False
    first = request.messages[0].blocks[0] if request.messages[0].blocks else None
    return isinstance(first, wire.TextBlock) and first.text.strip() == OPENING


def as_check(request: Request, classifier: str) -> Request:
    """The check without thinking, for which its `max_tokens` has no room, by the classifier where there is one."""
    losses = list(request.losses)
    body, thinking = request.body, request.thinking
    if thinking is None:
        thinking = wire.Thinking("disabled")
        losses.append(Loss("thinking", "approximated", "switched off: max_tokens has little room for it"))
    if classifier:
        body = replace(body, model=classifier)
        losses.append(Loss("model", "approximated", "auto_mode.classifier answers the client's own checks"))
    return replace(request, body=body, thinking=thinking, losses=losses)
