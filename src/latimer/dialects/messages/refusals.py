"""Requests that only Anthropic's own servers can serve, and that must not be served as something else.

Each refusal is worded and typed so that the official SDKs and Claude Code fall back as they were built to
(measured: `tool_runner()` sends `thread` by default, and resends the turn without it after exactly this answer).
"""

from __future__ import annotations

from msgspec import Raw, json

from latimer.errors import Failure, Rejection, invalid
from latimer.wire import messages as wire

from .request import Request

BY_GATEWAY = "not supported by this gateway"


def refuse_unservable(request: Request) -> None:
    """Raise `Rejection` when ignoring a field would tell the client something false."""
    body = request.body
    _refuse_thread(body)
    if wire.given(body.compaction):
        raise invalid(f"compaction: {BY_GATEWAY}")
    if isinstance(body.fallbacks, list) and body.fallbacks:
        raise invalid(f"fallbacks: a list of models is {BY_GATEWAY}; configure a fallback chain in [routes] instead")
    if wire.given(body.fallback_credit_token) and not _best_effort(body.fallback_credit_token):
        raise invalid(f"fallback_credit_token: {BY_GATEWAY}")
    if body.mcp_servers:
        raise invalid(f"mcp_servers: {BY_GATEWAY}; configure the MCP server in the client")
    if wire.given(body.container):
        raise invalid(f"container: {BY_GATEWAY}")
    if body.inference_geo:
        raise invalid(f"inference_geo: {BY_GATEWAY}, which cannot say where the provider computes")
    if wire.given(body.billing_policy) and b'"user_profile"' in bytes(body.billing_policy):
        raise invalid(f"billing_policy: bill_to user_profile is {BY_GATEWAY}")
    for index, tool in enumerate(request.tools):
        _refuse_tool(tool, index)


def _refuse_thread(body: wire.RequestBody) -> None:
    if not wire.given(body.thread):
        return
    thread = json.decode(body.thread)
    if isinstance(thread, dict) and thread.get("type") == "continue":
        previous = thread.get("previous_message_id")
        message = f"thread: no thread continues from message {previous!r}"
        raise Rejection(Failure("not_found_error", message, {"error_code": "thread_not_found"}))
    raise invalid(f"thread: {BY_GATEWAY}", error_code="thread_unsupported_request", unsupported=[])


def _refuse_tool(tool: wire.Tool, index: int) -> None:
    if tool.type not in (None, "custom"):
        raise invalid(f"tools.{index}.type: {tool.type} is {BY_GATEWAY}")
    if not tool.name:
        raise invalid(f"tools.{index}.name: Field required")


def _best_effort(token: Raw) -> bool:
    value = json.decode(token)
    return isinstance(value, dict) and value.get("mode") == "best_effort"
