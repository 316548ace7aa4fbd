"""The places where the API itself reports what became of a request, for clients that asked for them.

Reports without a place of their own are in the `latimer-report` header (docs/http.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, json

from latimer.report import Loss
from latimer.wire import messages as wire

from .request import Compacted, Request

BINDING_BETA = "thinking-binding-controls-2026-08-01"
COUNT_BETA = "thinking-token-count-2026-05-13"
FOREIGN_REASONING = "the reasoning of another model, which this one cannot read"
"""Why a thinking block is lost that was not made on this route."""


class Slots(Struct, frozen=True):
    """Fields beside the answer. `message` is in the message itself, and so in `message_start`; `ending` is known at the
    end, in `message_delta`; `usage` is in the final usage. `compacted` is the content's first block.

    `counts_thinking`: thinking that is not shown is counted for a progress indicator. `speed`: the usage says at which
    speed the answer came.
    """

    message: dict[str, Any] = {}
    ending: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    counts_thinking: bool = False
    speed: bool = False
    compacted: Compacted | None = None


def native_slots(request: Request, losses: Iterable[Loss] = ()) -> Slots:
    """What to say beside the answer; `losses` are those of the request on the route it takes."""
    body = request.body
    message: dict[str, Any] = {}
    ending: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    if wire.given(body.diagnostics):
        message["diagnostics"] = _diagnostics(json.decode(body.diagnostics))
    if wire.given(body.context_management):
        ending["context_management"] = {"applied_edits": list(request.applied_edits or ())}
    if BINDING_BETA in request.betas:
        message["input_transformations"] = [
            {"type": "thinking_dropped", "path": loss.field, "reason": "model_binding_mismatch"}
            for loss in losses
            if loss.why == FOREIGN_REASONING
        ]
    if wire.given(body.fallback_credit_token):
        usage["fallback_credit"] = {"status": {"type": "not_applied", "reason": "not_enabled"}}
    return Slots(message, ending, usage, COUNT_BETA in request.betas, body.speed is not None, request.compacted)


def _diagnostics(asked: Any) -> Any:
    """Null on a first turn, which has nothing to be compared with."""
    compared = isinstance(asked, dict) and asked.get("previous_message_id") is not None
    return {"cache_miss_reason": {"type": "unavailable"}} if compared else None
