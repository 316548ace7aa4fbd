"""The request's top level and its headers."""

# ruff: noqa: E501  # a table has one row on a line
from __future__ import annotations

from latimer.dialects.surface import Row

EACH = "tests/dialects/test_surface.py::test_each_part_of_a_request"
REFUSED = "tests/dialects/messages/test_refusals.py::test_what_would_be_served_as_something_else_is_refused_by_name"
THREAD = "tests/dialects/messages/test_refusals.py::test_a_thread_is_refused_so_that_the_sdk_sends_the_whole_turn"
EDITS = "tests/dialects/messages/test_edits.py"

FIELDS: tuple[Row, ...] = (
    Row("model", "met", "the route says which model answers; the answer names what was asked for", "text"),
    Row("model=*", "met", "any name can be routed", "text"),
    Row("max_tokens", "carried", "{limit}, clamped to model and window", "max-tokens-clamped"),
    Row("messages", "carried", "{messages}", "history-merged"),
    Row("messages.role=user", "met", "`user`", "text"),
    Row("messages.role=assistant", "rejected", "at the end, where it is a prefill; elsewhere carried", "prefill-refused"),
    Row("messages.role=system", "carried", "a system message in its place, or marked user text", "system-mid-native"),
    Row("messages.content", "carried", "{content}", "text"),
    Row("messages.clear_at=next_user_message", "met", "the message goes out until a user message follows; then emulated", "system-mid-cleared"),
    Row("messages.clear_at=never", "met", "every other message stays anyway", EACH),
    Row("messages.output_config", "met", "empty, it asks for nothing", EACH),
    Row("messages.output_config.effort=(low|medium|high)", "carried", "{effort} of this turn", "system-mid-effort"),
    Row("messages.output_config.effort=(xhigh|max)", "approximated", "the nearest effort that the provider has", "effort-nearest"),
    Row("system", "carried", "one leading system message", "system-blocks"),
    Row("system=<text>", "carried", "its texts, Claude Code's billing line left out", "system-blocks"),
    Row("stream=false", "met", "the upstream streams all the same, and the answer is put together here", "text-whole"),
    Row("stream=true", "met", "`stream`", "text"),
    Row("stop_sequences", "emulated", "matched here, since providers do not say which one matched", "stop-sequence"),
    Row("temperature", "carried", "2023-06-01 only, as with Anthropic", "sampling"),
    Row("top_p", "carried", "2023-06-01 only, as with Anthropic", "sampling"),
    Row("top_k", "dropped", "sent where the profile says that the server knows it", "sampling"),
    Row("tool_choice.auto", "carried", "`auto`", "tools-one-call"),
    Row("tool_choice.any", "carried", "`required`, or `auto` where that is not taken", "tools-choice-not-taken"),
    Row("tool_choice.tool*", "carried", "the function by its name", "tools-forced-deferred"),
    Row("tool_choice.none", "carried", "`none`, or no tools where that is not taken", "tools-choice-none"),
    Row("tool_choice.*.disable_parallel_tool_use=true", "carried", "`parallel_tool_calls: false`; more calls are left out here", "tools-one-call"),
    Row("tool_choice.*.disable_parallel_tool_use=false", "met", "the default", EACH),
    Row("metadata", "met", "empty, it says nothing", EACH),
    Row("metadata.user_id", "dropped", "sent as a hash where the profile names a field for it", "identity-hashed"),
    Row("thinking.adaptive", "met", "the provider's own measure, unless there is an effort", "claude-code-main-loop"),
    Row("thinking.enabled", "carried", "by its budget", "effort-from-budget"),
    Row("thinking.enabled.budget_tokens", "approximated", "as the nearest effort, or in the provider's own field", "effort-as-budget"),
    Row("thinking.disabled", "approximated", "as little as the provider has", "effort-off"),
    Row("thinking.between_tools", "approximated", "thinking is switched off; notes between tools come as text", EACH),
    Row("thinking.*.display=omitted", "met", "Latimer shows no text, and keeps it in the signature", "reasoning-hidden"),
    Row("thinking.*.display=summarized", "approximated", "reasoning is shown as the provider gives it", EACH),
    Row("thinking.*.display=updates", "approximated", "reasoning is shown as the provider gives it", EACH),
    Row("thinking.*.block_binding*", "dropped", "blocks are bound to their route; `input_transformations` lists those left out", "answer-native-slots"),
    Row("output_config", "met", "empty, it asks for nothing", EACH),
    Row("output_config.effort=(low|medium|high)", "carried", "{effort}, or as the provider says it", "effort-as-object"),
    Row("output_config.effort=(xhigh|max)", "approximated", "the nearest effort that the provider has", "effort-nearest"),
    Row("output_config.format*", "approximated", "{format}; strict, and so carried, where the schema allows it", "format-strict"),
    Row("output_config.task_budget*", "dropped", "advice that providers have no field for", EACH),
    Row("output_format*", "carried", "the old name of `output_config.format`; reported by the new one", EACH),
    Row("service_tier=auto", "met", "the default", EACH),
    Row("service_tier=standard_only", "dropped", "`default` where the profile says that tiers are known", "tier-standard"),
    Row("speed=standard", "met", "the default", "tier-standard"),
    Row("speed=fast", "dropped", "`service_tier: priority` where the profile says that tiers are known", "tier-fast"),
    Row("inference_geo", "rejected", "nobody here can say where a provider computes", REFUSED),
    Row("cache_control*", "dropped", "providers cache by themselves; marks on blocks are passed on where they are taken", "cache-marks-passed"),
    Row("container*", "rejected", "there are no containers here", REFUSED),
    Row("diagnostics*", "dropped", "answered with `cache_miss_reason: unavailable`", "answer-native-slots"),
    Row("user_profile_id", "dropped", "the provider has no user profiles", EACH),
    Row("workspace_id", "dropped", "the provider has no workspaces", EACH),
    Row("betas*", "dropped", "it belongs into the `anthropic-beta` header", EACH),
    Row("billing_policy", "dropped", "the provider bills its own account", EACH),
    Row("billing_policy.bill_to=self", "dropped", "the provider bills its own account", EACH),
    Row("billing_policy.bill_to=user_profile", "rejected", "nobody else can be billed", REFUSED),
    Row("mcp_servers*", "rejected", "the model would answer without its tools; configure the server in the client", REFUSED),
    Row("compaction*", "rejected", "an ordinary answer would be taken for a summary", REFUSED),
    Row("fallbacks=default", "dropped", "the routes of this gateway decide about fallbacks", EACH),
    Row("fallbacks*", "rejected", "routes have chains of their own, in the configuration", REFUSED),
    Row("fallback_credit_token", "rejected", "there is no credit to redeem", REFUSED),
    Row("fallback_credit_token.token", "rejected", "there is no credit to redeem", REFUSED),
    Row("fallback_credit_token.mode=strict", "rejected", "there is no credit to redeem", REFUSED),
    Row("fallback_credit_token.mode=best_effort", "dropped", "served; `usage.fallback_credit` says that it was not applied", "answer-native-slots"),
    Row("thread*", "rejected", "worded so that the SDK sends the whole conversation instead", THREAD),
    Row("safeguards", "dropped", "Claude Code's own; no verdict is made up", "fields-unknown"),
    Row("context_management", "met", "without edits it asks for nothing", "claude-code-main-loop"),
    Row("context_management.edits.clear_thinking_20251015*", "emulated", "done here; the answer has `applied_edits`", EDITS),
    Row("context_management.edits.clear_thinking_20251015.keep=all", "met", "it clears nothing", "claude-code-main-loop"),
    Row("context_management.edits.clear_thinking_20251015.keep.all", "met", "it clears nothing", EDITS),
    Row("context_management.edits.clear_tool_uses_20250919*", "emulated", "done here; the answer has `applied_edits`", EDITS),
    Row("context_management.edits.clear_tool_uses_20250919.clear_tool_inputs=(true|false)", "emulated", "done here", EDITS),
    Row("context_management.edits.compact_20260112*", "emulated", "the model sums the conversation up and goes on from there", EDITS),
)  # fmt: skip

HEADERS: tuple[Row, ...] = (
    Row("anthropic-version=2023-06-01", "carried", "assumed where the header is missing, and then reported", "tests/shell/test_server.py::test_api_versions"),
    Row("anthropic-version=2026-10-21", "carried", "refuses sampling, documents of assistants and citations of users, as Anthropic does", "new-version-refuses-sampling"),
    Row("anthropic-user-profile-id", "dropped", "the provider has no user profiles", "tests/dialects/messages/test_headers.py::test_what_cannot_be_carried_is_reported"),
    Row("anthropic-workspace-id", "dropped", "the provider has no workspaces", "tests/dialects/messages/test_headers.py::test_what_cannot_be_carried_is_reported"),
    Row("authorization", "met", "the gateway's token, or nothing; never sent upstream", "tests/shell/test_server.py::test_the_token_opens"),
    Row("x-api-key", "met", "the gateway's token, or nothing; never sent upstream", "tests/shell/test_server.py::test_the_token_opens"),
    Row("content-encoding", "carried", "`gzip` and `deflate`; others are a 400 with `request_body_encoding_unsupported`", "tests/shell/test_server.py::test_compressed_bodies"),
    Row("anthropic-beta=thinking-binding-controls-2026-08-01", "carried", "the answer has `input_transformations`", "answer-native-slots"),
    Row("anthropic-beta=thinking-token-count-2026-05-13", "carried", "hidden thinking has `estimated_tokens`", "reasoning-hidden-counted"),
    Row(
        "anthropic-beta=(interleaved-thinking-2025-05-14|dev-full-thinking-2025-05-14|context-1m-2025-08-07|output-128k-2025-02-19"
        "|output-300k-2026-03-24|model-context-window-exceeded-2025-08-26|token-efficient-tools-2025-02-19|pdfs-2024-09-25"
        "|prompt-caching-2024-07-31|extended-cache-ttl-2025-04-11|token-counting-2024-11-01|structured-outputs-2025-11-13"
        "|mid-conversation-tool-changes-2026-07-01|mid-conversation-output-config-2026-07-01|inline-tools-2026-09-15"
        "|mid-conversation-system-clear-at-2026-08-21|thinking-display-updates-2026-08-18|context-management-2025-06-27"
        "|fast-mode-2026-02-01|cache-diagnosis-2026-04-07|task-budgets-2026-03-13|computer-use-2024-10-22|computer-use-2025-01-24"
        "|computer-use-2025-11-24|advisor-tool-2026-03-01|fallback-credit-2026-06-01|fallback-credit-2026-07-01)",
        "met", "not needed: the fields it opens have rows of their own", "tests/dialects/messages/test_headers.py::test_betas",
    ),
    Row(
        "anthropic-beta=(mcp-client-*|code-execution-2025-05-22|server-side-fallback-*|compact-*|message-threads-2026-08-12"
        "|user-profiles-*|skills-2025-10-02|files-api-2025-04-14|message-batches-2024-09-24)",
        "met", "accepted; the fields it opens are refused or reported", "tests/dialects/messages/test_headers.py::test_betas",
    ),
    Row(
        "anthropic-beta=(managed-agents-*|dreaming-*|agent-memory-*|mcp-tunnels-*|webhooks-*|admin-*|analytics-*|ce-*"
        "|spend-limit-reads-*|telemetry-destinations-*|experimental-claude-tag-*)",
        "met", "accepted; of other endpoints, which this gateway does not have", "tests/dialects/messages/test_headers.py::test_betas",
    ),
)  # fmt: skip
