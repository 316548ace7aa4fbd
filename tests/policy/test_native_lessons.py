"""Refusals of upstreams that speak Messages, in their own words; the threads stand beside the rules."""

# ruff: noqa: E501 - the providers' sentences stand on one line each, whole

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from latimer.policy.lessons import lesson
from latimer.policy.native_lessons import DISPENSABLE, TOOL_MEMBERS
from latimer.profile import CacheRules, EndpointRules, NativeRules, Profile

ANY = frozenset("*")
FULL = Profile(
    endpoint=EndpointRules(dialect="messages"),
    cache=CacheRules(cache_control="pass"),
    native=NativeRules(
        fields=ANY,
        output_config=ANY,
        blocks=ANY,
        betas=ANY,
        mid_system="native",
        thinking=frozenset({"adaptive", "disabled", "enabled"}),
        thinking_display=True,
        effort_when_disabled=True,
        tool_members=ANY,
        client_tools=True,
        server_tools=True,
        deferred_tools=True,
        cache_ttl=True,
    ),
)
SENT = DISPENSABLE | {"model", "messages", "tools", "system", "max_tokens", "stream"}


def native(**changes: Any) -> Profile:
    return replace(FULL, native=replace(FULL.native, **changes))


def dropping(name: str) -> Profile:
    return replace(FULL, request=replace(FULL.request, drop=frozenset({name})))


NO_MARKS = replace(FULL, cache=CacheRules(cache_control="strip"))
TAGGED = native(mid_system="tagged")
OLD_THINKING = native(thinking=frozenset({"disabled", "enabled"}))

TAUGHT: list[tuple[int, str, str, Profile]] = [
    (400, "Unexpected value(s) `tool-examples-2025-10-29` for the `anthropic-beta` header. Please consult our documentation at docs.anthropic.com or try again without the header.", "", native(refused_betas=frozenset({"tool-examples-2025-10-29"}))),
    (400, "Unexpected value(s) `prompt-caching-scope-2026-01-05`, `structured-outputs-2025-12-15` for the `anthropic-beta` header. Please consult our documentation", "", native(refused_betas=frozenset({"prompt-caching-scope-2026-01-05", "structured-outputs-2025-12-15"}))),
    (400, "unsupported beta header(s): tool-search-tool-2025-10-19", "", native(refused_betas=frozenset({"tool-search-tool-2025-10-19"}))),
    (400, "ValidationException: invalid beta flag", "", native(betas=frozenset())),
    (400, "context_management: Extra inputs are not permitted", "", dropping("context_management")),
    (400, 'litellm.BadRequestError: {"message":"context_management: Extra inputs are not permitted"}No fallback model group found', "", dropping("context_management")),
    (400, "output_config: Extra inputs are not permitted", "", dropping("output_config")),
    (400, "output_config.effort: Extra inputs are not permitted", "", native(output_config=frozenset({"format"}))),
    (400, "This model does not support the effort parameter.", "", native(output_config=frozenset({"format"}))),
    (400, "output_config.format: Extra inputs are not permitted", "", native(output_config=frozenset({"effort"}))),
    (422, "Extra inputs are not permitted", "service_tier", dropping("service_tier")),
    (400, "metadata: Extra inputs are not permitted", "", native(user_id="drop")),
    (400, "tools.0.custom.eager_input_streaming: Extra inputs are not permitted", "", native(tool_members=TOOL_MEMBERS - {"eager_input_streaming"})),
    (400, "51 request validation errors: Extra inputs are not permitted, field: 'tools[0].eager_input_streaming', value: True; Extra inputs are not permitted, field: 'tools[1].eager_input_streaming', value: True", "", native(tool_members=TOOL_MEMBERS - {"eager_input_streaming"})),
    (400, "Extra inputs are not permitted, field: 'tools[49].cache_control'", "", native(tool_members=TOOL_MEMBERS - {"cache_control"})),
    (400, "tools.3.custom.input_examples: Extra inputs are not permitted", "", native(tool_members=TOOL_MEMBERS - {"input_examples"})),
    (400, "tools.0.custom.defer_loading: Extra inputs are not permitted", "", native(tool_members=TOOL_MEMBERS - {"defer_loading"}, deferred_tools=False)),
    (400, "system.1.cache_control.ephemeral.scope: Extra inputs are not permitted", "", native(cache_ttl=False)),
    (400, "tools.19.custom.cache_control.ephemeral.scope: Extra inputs are not permitted", "", native(cache_ttl=False)),
    (400, "messages.13.content.0.text.cache_control: Extra inputs are not permitted", "", NO_MARKS),
    (400, "thinking: Input tag 'adaptive' found using 'type' does not match any of the expected tags: 'disabled', 'enabled'", "", OLD_THINKING),
    (400, '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.', "", native(thinking=frozenset({"adaptive", "disabled"}))),
    (400, "thinking.adaptive.display: Extra inputs are not permitted", "", native(thinking_display=False)),
    (400, "The `content[].thinking` in the thinking mode must be passed back to the API.", "", native(thinking_in_calls=True)),
    (400, "thinking options type cannot be disabled when reasoning_effort is set", "", native(effort_when_disabled=False)),
    (400, 'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" as an input message role.', "", TAGGED),
    (422, "Input should be 'user' or 'assistant'", "messages.1.role", TAGGED),
    (400, "messages.1.role: Input should be 'user' or 'assistant'", "", TAGGED),
    (400, "messages.67: role 'system' must precede an 'assistant' message or end the array", "", TAGGED),
    (400, "tools.0: Input tag 'web_search_20250305' found using 'type' does not match any of the expected tags: 'custom'", "", native(server_tools=False)),
    (400, "tools.4: Input tag 'bash_20250124' found using 'type' does not match any of the expected tags: 'custom'", "", native(client_tools=False)),
    (400, "tools.0: Input tag 'tool_search_tool_regex_20251119' found using 'type' does not match any of the expected tags: 'custom'", "", native(deferred_tools=False)),
    (400, "messages.5.content.0: Input tag 'search_result' found using 'type' does not match any of the expected tags: 'image', 'text'", "", native(blocks=NativeRules().blocks)),
    (400, "max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens for claude-sonnet-4-5", "", replace(FULL, request=replace(FULL.request, max_output=64_000))),
    (400, "This model does not support image input", "", replace(FULL, media=replace(FULL.media, images=False))),
    (400, "`temperature` and `top_p` cannot both be specified for this model. Please use only one.", "", dropping("top_p")),
]  # fmt: skip

NOTHING: list[tuple[int, str]] = [
    (400, "messages.65.content.1.tool_use.text: Extra inputs are not permitted"),
    (400, "messages.0.content.0.tool_use.input.context_management: Extra inputs are not permitted"),
    (400, "messages: Extra inputs are not permitted"),
    (400, "model: Extra inputs are not permitted"),
    (400, "tools.0.custom.name: Extra inputs are not permitted"),
    (400, "tools.0.custom.input_schema.properties.x: Extra inputs are not permitted"),
    (400, "tools.0: Input tag 'kumquat' found using 'type' does not match any of the expected tags: 'custom'"),
    (400, "messages.0.content.0: Input tag 'text' found using 'type' does not match any of the expected tags: 'image'"),
    (400, "thinking: Input tag 'adaptive' found using 'type' does not match any of the expected tags: 'kumquat'"),
    (400, "Unexpected value(s) `kumquat` for the `anthropic-beta` header."),
    (400, "messages.3: `tool_use` ids were found without `tool_result` blocks immediately after"),
    (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    (429, "context_management: Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("status", "message", "param", "expected"), TAUGHT, ids=[row[1][:60] for row in TAUGHT])
def test_what_is_taught(status: int, message: str, param: str, expected: Profile) -> None:
    taught = lesson(status, message, param, SENT, FULL)
    assert taught is not None
    assert taught[0] == expected
    assert 10 < len(taught[1]) < 120
    again = lesson(status, message, param, SENT, taught[0])
    assert again is None or again[0] not in (FULL, taught[0])


@pytest.mark.parametrize(("status", "message"), NOTHING, ids=[row[1][:60] for row in NOTHING])
def test_nothing_to_learn(status: int, message: str) -> None:
    assert lesson(status, message, "", SENT, FULL) is None


def test_cache_marks_go_in_two_steps() -> None:
    message = "system.0.cache_control.ephemeral.scope: Extra inputs are not permitted"
    first = lesson(400, message, "", SENT, FULL)
    assert first is not None
    second = lesson(400, message, "", SENT, first[0])
    assert second is not None
    assert second[0].cache.cache_control == "strip"


def test_only_fields_that_were_sent() -> None:
    assert lesson(400, "context_management: Extra inputs are not permitted", "", frozenset({"model"}), FULL) is None
    assert lesson(400, "This model does not support the effort parameter.", "", frozenset({"model"}), FULL) is None


def test_what_is_said_of_messages_teaches_nothing_elsewhere() -> None:
    """Chat Completions has its own rules for the same words."""
    chat = replace(FULL, endpoint=EndpointRules())
    for status, message, param, expected in TAUGHT:
        taught = lesson(status, message, param, SENT, chat)
        assert taught is None or taught[0].native == FULL.native or taught[0] == expected


@given(st.sampled_from(TAUGHT), st.text(), st.text(max_size=30), st.frozensets(st.sampled_from(sorted(SENT))))
def test_any_text_is_read(row: tuple[int, str, str, Profile], more: str, param: str, sent: frozenset[str]) -> None:
    taught = lesson(row[0], f"{more}{row[1]}{more}", param, sent, FULL)
    assert taught is None or taught[0] != FULL
