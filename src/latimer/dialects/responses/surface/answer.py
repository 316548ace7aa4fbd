"""Answers on the way back: what becomes of what a Responses upstream says.

What the client gets is the same whatever the upstream speaks: `latimer.dialects.chat.surface.answer.ANSWER`.
"""

# ruff: noqa: E501  # a table has one row on a line
from __future__ import annotations

from latimer.dialects.surface import Row

UPSTREAM = "tests/dialects/responses/test_surface.py::test_each_part_of_an_upstreams_answer"
_ECHOED = "(access_programs|background|conversation|image|instructions|max_output_tokens|max_tool_calls|metadata|parallel_tool_calls|previous_response_id|prompt|prompt_cache_key|prompt_cache_options|prompt_cache_retention|reasoning|safety_identifier|temperature|text|tool_choice|tools|top_logprobs|top_p|truncation|user)"
_HOSTED = "(additional_tools|apply_patch_call|apply_patch_call_output|code_interpreter_call|compaction|computer_call|computer_call_output|custom_tool_call_output|file_search_call|function_call_output|local_shell_call|local_shell_call_output|mcp_approval_request|mcp_approval_response|mcp_call|mcp_list_tools|program|program_output|shell_call|shell_call_output|tool_search_call|tool_search_output|web_search_call)"

FROM_UPSTREAM: tuple[Row, ...] = (
    Row("id", "met", "answers have ids of their own", UPSTREAM),
    Row("(created_at|completed_at)", "met", "Messages has no time", UPSTREAM),
    Row("object=response", "met", "the form of the answer itself", UPSTREAM),
    Row("model*", "met", "the answer names what was asked for; `latimer-route` says who answered", UPSTREAM),
    Row(f"{_ECHOED}*", "met", "an echo of the request", UPSTREAM),
    Row("(prompt_cache_diagnostics|tool_usage)*", "met", "it comes only where it was asked for", UPSTREAM),
    Row("input_transformations*", "dropped", "the provider left out reasoning that it was given back", UPSTREAM),
    Row("moderation*", "dropped", "Messages has no place for it", UPSTREAM),
    Row("service_tier=(auto|default|flex|scale)", "met", "`usage.service_tier: standard`", "openai-text"),
    Row("service_tier=(priority|fast|ultrafast)", "carried", "`usage.service_tier: priority`", "openai-tier"),
    Row("status=completed", "met", "`end_turn`, or `tool_use` if there is a call", "openai-text-whole"),
    Row("status=incomplete", "approximated", "without a reason it is read as the output limit", UPSTREAM),
    Row("status=(failed|cancelled|queued|in_progress)", "rejected", "an error: there is no answer", "openai-queued"),
    Row("incomplete_details.reason=max_output_tokens", "carried", "`max_tokens`, or the full window", "openai-incomplete-limit"),
    Row("incomplete_details.reason=content_filter", "carried", "`refusal`", "openai-incomplete-filter"),
    Row("incomplete_details.reason=(max_messages|steered)", "approximated", "`pause_turn`", "openai-incomplete-steered"),
    Row("error*", "rejected", "an error of the Messages API, by code and words", "openai-failed-rate-limit"),
    Row("output.message.(id|type|role|status)=*", "met", "the item's form", "openai-text-whole"),
    Row("output.message.id", "met", "blocks have no ids", "openai-text-whole"),
    Row("output.message.phase=(commentary|final_answer)", "dropped", "Messages does not tell commentary from the answer", "openai-phase"),
    Row("output.message.content.output_text.text", "carried", "a text block for each message", "openai-text-whole"),
    Row("output.message.content.(output_text|refusal).type=*", "met", "the part's form", "openai-text-whole"),
    Row("output.message.content.output_text.annotations*", "dropped", "a citation would have to point into a result of Anthropic's", "openai-unknown-items"),
    Row("output.message.content.output_text.logprobs*", "dropped", "Messages has no place for them", UPSTREAM),
    Row("output.message.content.refusal.refusal", "carried", "a text block, and `refusal` with its explanation", "openai-refusal"),
    Row("output.reasoning.(id|encrypted_content)", "carried", "in the signature, for the way back", "openai-reasoning"),
    Row("output.reasoning.(summary.summary_text|content.reasoning_text).text", "carried", "a thinking block; of two lists the first is shown, the other is in the signature", "openai-reasoning"),
    Row("output.reasoning.(summary.summary_text|content.reasoning_text).type=*", "met", "the part's form", "openai-reasoning"),
    Row("output.reasoning.(type|status)=*", "met", "the item's form", "openai-reasoning"),
    Row("output.function_call.(arguments|call_id|name)", "carried", "a `tool_use` block", "openai-parallel-calls"),
    Row("output.function_call.namespace", "carried", "before the tool's name", UPSTREAM),
    Row("output.function_call.(id|async_)", "met", "the call has its `call_id`; none is asked for that need not be waited for", UPSTREAM),
    Row("output.function_call.(type|status)=*", "met", "the item's form", "openai-parallel-calls"),
    Row("output.function_call.caller*", "met", "programs that call tools are never asked for", UPSTREAM),
    Row("output.custom_tool_call*", "approximated", "a `tool_use` block with the text as `input`", "openai-custom-tool-call"),
    Row("output.image_generation_call*", "approximated", "a mark in the text", "openai-image-generation"),
    Row(f"output.{_HOSTED}*", "dropped", "never asked for, and Messages has no place for it", "openai-unknown-items"),
    Row("usage.(input_tokens|output_tokens)", "carried", "`input_tokens` and the caches, `output_tokens`", "openai-usage-cached"),
    Row("usage.input_tokens_details.(cached_tokens|cache_write_tokens)", "carried", "the caches", "openai-usage-cached"),
    Row("usage.input_tokens_details.cache_write_tokens_details.*", "met", "what is written counts as five minutes, however long it is kept", UPSTREAM),
    Row("usage.output_tokens_details.reasoning_tokens", "carried", "`thinking_tokens`", "openai-usage-cached"),
    Row("usage.total_tokens", "met", "the sum of the others, which shows how reasoning is counted", "xai-usage-reasoning-beside"),
)  # fmt: skip
