"""Requests on the way to an upstream that speaks Messages itself, of which nothing special is known."""

# ruff: noqa: E501  # a table has one row on a line
from __future__ import annotations

from latimer.dialects.surface import Row, told_in
from latimer.dialects.surface_rows import blocks, request, tools
from latimer.dialects.surface_rows.request import EACH

WORDS = {
    "limit": "`max_tokens`",
    "messages": "as they came, changed only where a block of them is not taken",
    "content": "as it came",
    "effort": "`output_config.effort`",
    "format": "words in the system prompt",
    "image": "as it came",
    "calls": "as it came",
    "result": "as it came,",
    "result_id": "as it came",
    "function": "as it came",
}
OLDER = "where the profile has it in `native.fields`"
BETAS = "tests/dialects/messages/native/test_request.py::test_betas_by_globs"
VERSION = "tests/dialects/messages/native/test_request.py::test_the_version_that_the_upstream_understands"

_FIELDS = (
    Row("messages.role=assistant", "carried", "at the end, too: whether it takes a prefill the upstream says", EACH),
    Row("messages.role=system", "approximated", "marked user text; kept with `native.mid_system: native`", "tagged-system-messages"),
    Row("messages.output_config.effort=(low|medium|high)", "dropped", "the newest is the request's, where efforts are taken", EACH),
    Row("messages.output_config.effort=(xhigh|max)", "dropped", "the newest is the request's, where efforts are taken", EACH),
    Row("stream=false", "carried", "the client gets what it asked for", "anthropic-text-whole"),
    Row("stream=true", "carried", "the client gets what it asked for", "anthropic-text"),
    Row("stop_sequences", "carried", "matched here where the profile says that the upstream does not", "stop-sequence-of-the-upstream"),
    Row("top_k", "carried", "as it came", "minimax-rules"),
    Row("tool_choice.*.disable_parallel_tool_use=false", "carried", "as it came", EACH),
    Row("metadata.user_id", "approximated", "as a hash: it names device, account and session", "deepseek-no-effort-while-off"),
    Row("thinking.adaptive", "approximated", "`enabled`, with a budget for the effort", "deepseek-thinking-in-calls"),
    Row("thinking.enabled.budget_tokens", "carried", "or less, where clamped `max_tokens` leave no room", EACH),
    Row("thinking.disabled", "carried", "as it came", "deepseek-no-effort-while-off"),
    Row("thinking.*.display=omitted", "approximated", "not sent, so its thinking is shown", EACH),
    Row("output_config", "carried", "empty, it asks for nothing", EACH),
    Row("output_config.effort=(low|medium|high)", "dropped", "sent where the profile has it in `native.output_config`", "deepseek-thinking-in-calls"),
    Row("output_config.effort=(xhigh|max)", "dropped", "sent where the profile has it in `native.output_config`", "deepseek-thinking-in-calls"),
    Row("output_config.format*", "approximated", "the prompt carries it, unless `native.output_config` has `format`", EACH),
    Row("context_management.edits.clear_thinking_20251015.keep=all", "carried", "it clears nothing, so thinking goes as it came", "anthropic-claude-code-main-loop"),
    Row("context_management.edits.clear_thinking_20251015.keep.all", "carried", "it clears nothing, so thinking goes as it came", EACH),
    Row("service_tier=auto", "dropped", f"sent {OLDER}", EACH),
    Row("service_tier=standard_only", "dropped", f"sent {OLDER}", EACH),
    Row("speed=standard", "dropped", f"sent {OLDER}", EACH),
    Row("speed=fast", "dropped", f"sent {OLDER}", "betas-refused"),
)  # fmt: skip
_BLOCKS = (
    Row("messages.content=(<thinking>|<redacted_thinking>)", "carried", "but for Latimer's own of another dialect, which is dropped", "latimers-signatures-taken-out"),
    Row("content.image.source.base64.media_type=(image/jpeg|image/gif|image/webp)", "carried", "as it came", EACH),
    Row("content.image.source.file*", "carried", "as it came: whose file it is the upstream knows", EACH),
    Row("content.image.transformations*", "dropped", "sent with `native.new_members`", EACH),
    Row("content.thinking*", "carried", "as it came, but for Latimer's own of another dialect, which is dropped", "anthropic-thinking"),
    Row("content.redacted_thinking*", "carried", "as it came, where `native.blocks` has it", "anthropic-thinking-redacted"),
    Row("content.tool_use.caller.direct", "dropped", "sent with `native.new_members`", EACH),
    Row("content.tool_use.toolset_name", "dropped", "part of the call's name; sent with `native.new_members`", "client-tools-toolset"),
    Row("content.tool_result.is_error=false", "carried", "as it came", "anthropic-parallel-calls"),
    Row("content.(text|image|document|search_result|tool_use|tool_result|tool_reference).cache_control*", "dropped", "sent where the profile says that marks are taken", "minimax-rules"),
)  # fmt: skip
_EAGER = "tools.custom.eager_input_streaming=(true|false)"

FIELDS = (
    *(row for row in told_in(WORDS, request.FIELDS, _FIELDS) if row.field != "diagnostics*"),
    Row("diagnostics", "met", "empty, it asks for nothing", EACH),
    Row("diagnostics.*", "dropped", f"sent {OLDER}", "betas-refused"),
)
BLOCKS = (
    *told_in(WORDS, blocks.BLOCKS, _BLOCKS),
    Row("content.image.transformations", "met", "empty, it asks for nothing", EACH),
)
TOOLS = (
    *(row for row in told_in(WORDS, tools.TOOLS) if row.field != _EAGER),
    Row("tools.custom.eager_input_streaming=true", "dropped", "sent with `native.tool_members`", EACH),
    Row("tools.custom.eager_input_streaming=false", "met", "the default", EACH),
)
HEADERS = (
    *(row for row in request.HEADERS if not row.field.startswith(("anthropic-version=2026", "anthropic-beta"))),
    Row("anthropic-version=2026-10-21", "approximated", "sent as 2023-06-01, unless `native.new_version`", VERSION),
    Row("anthropic-beta=*", "dropped", "sent where a glob of `native.betas` has it", BETAS),
)
