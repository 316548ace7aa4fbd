"""What a refusal teaches, in each provider's words, and what must teach nothing."""

# ruff: noqa: E501 - the providers' sentences and bodies stand on one line each, whole

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from latimer.policy.lessons import CURES, WORDINGS, lesson
from latimer.profile import MediaRules, MessageRules, Profile, ReasoningRules, RequestRules, ToolRules

PLAIN = Profile(
    request=RequestRules(top_k=True, user_id="user", session_key="prompt_cache_key"),
    messages=MessageRules(system_role="developer"),
)
SENT = frozenset(CURES) | {"model", "messages", "stream", "tools"}


def request(**changes: object) -> Profile:
    return replace(PLAIN, request=replace(PLAIN.request, **changes))


def reasoning(**changes: object) -> Profile:
    return replace(PLAIN, reasoning=replace(PLAIN.reasoning, **changes))


def tools(**changes: object) -> Profile:
    return replace(PLAIN, tools=replace(PLAIN.tools, **changes))


NO_CONTROL = reasoning(control="none")
ONE_SYSTEM = replace(PLAIN, messages=replace(PLAIN.messages, mid_system="tagged", merge_users=True))
NO_IMAGES = replace(PLAIN, media=MediaRules(images=False))
AUTO_ONLY = tools(choices=frozenset({"auto"}))

FIELDS: list[tuple[int, str, str, Profile]] = [
    (400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "max_tokens", request(max_tokens_field="max_completion_tokens")),
    (400, "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.", "temperature", request(drop=frozenset({"temperature"}))),
    (400, "invalid temperature: only 1 is allowed for this model", "", request(drop=frozenset({"temperature"}))),
    (400, "invalid top_p: only 0.95 is allowed for this model", "", request(drop=frozenset({"top_p"}))),
    (400, "Unrecognized request argument supplied: reasoning_effort", "", NO_CONTROL),
    (400, "Unknown parameter: 'prompt_cache_key'.", "prompt_cache_key", request(session_key="")),
    (400, "Validation: Unsupported parameter(s): `prompt_cache_key`", "", request(session_key="")),
    (400, "Model grok-4 does not support parameter reasoningEffort.", "", NO_CONTROL),
    (400, "Argument not supported on this model: reasoning_effort", "", NO_CONTROL),
    (400, "`reasoning_effort` is not supported with this model", "", NO_CONTROL),
    (400, "property 'reasoning_effort' is unsupported", "", NO_CONTROL),
    (400, "Invalid JSON payload received. Unknown name \"stream_options\": Cannot find field.", "", request(usage="unasked")),
    (400, "Extra inputs are not permitted, field: 'stream_options', value: {'include_usage': True}", "", request(usage="unasked")),
    (422, "reasoning: Extra inputs are not permitted", "reasoning", NO_CONTROL),
    (422, "body.parallel_tool_calls: Extra inputs are not permitted", "", tools(parallel=False)),
    (400, "Additional properties are not allowed ('parallel_tool_calls' was unexpected)", "", tools(parallel=False)),
    (400, "This model does not support the parallel_tool_calls parameter", "", tools(parallel=False)),
    (400, "unknown field `safety_identifier`, expected one of `model`, `messages`", "", request(user_id="drop")),
    (400, "Unknown parameter: 'user'", "", request(user_id="drop")),
    (400, "top_k is not supported by this model", "", request(top_k=False)),
    (400, "This response_format type is unavailable now", "", request(json_schema="json_object")),
    (400, "'json_schema' is not supported by this model", "", request(json_schema="json_object")),
    (422, "response_format: Extra inputs are not permitted", "response_format", request(json_schema="prompt")),
    (400, "deepseek-reasoner does not support this tool_choice", "", AUTO_ONLY),
    (400, "tool_choice 'required' is incompatible with thinking enabled", "", AUTO_ONLY),
    (400, "The tool_choice parameter does not support being set to required or object in thinking mode", "", AUTO_ONLY),
    (400, "Invalid tool_choice type: 'object'. Supported string values: none, auto, required", "", AUTO_ONLY),
    (400, "Unrecognized request argument supplied: tool_choice", "", request(drop=frozenset({"tool_choice"}))),
    (400, "Unknown parameter: 'enable_thinking'", "", NO_CONTROL),
    (400, "Unsupported parameter: max_output_tokens", "", request(drop=frozenset({"max_output_tokens"}))),
    (400, "Unsupported parameter: 'text.format' is not supported with this model.", "text.format", request(json_schema="json_object")),
    (422, "store: Extra inputs are not permitted", "", request(drop=frozenset({"store"}))),
    (400, "Unknown parameter: 'truncation'.", "truncation", request(drop=frozenset({"truncation"}))),
    (400, "Extra inputs are not permitted, field: 'chat_template_kwargs'", "", NO_CONTROL),
    (400, "Unknown parameter: 'thinking'", "", NO_CONTROL),
]  # fmt: skip

WORDS: list[tuple[int, str, Profile]] = [
    (400, '"qwen2.5:7b" does not support thinking', NO_CONTROL),
    (400, "Encrypted content is not supported with this model.", request(drop=frozenset({"include"}))),
    (400, "Your organization must be verified to generate reasoning summaries. Please go to: https://platform.openai.com/settings/organization/general and click on Verify Organization.", reasoning(summaries=False)),
    (400, "Unsupported parameter: 'reasoning.summary' is not supported with the 'o1' model.", reasoning(summaries=False)),
    (400, "`temperature` and `top_p` cannot both be specified for this model. Please use only one.", request(drop=frozenset({"top_p"}))),
    (400, "System message must be at the beginning.", ONE_SYSTEM),
    (500, "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/...", ONE_SYSTEM),
    (400, "After the optional system message, conversation roles must alternate user and assistant", ONE_SYSTEM),
    (400, "invalid params, chat content has invalid message role: system (2013)", ONE_SYSTEM),
    (400, "Unexpected role 'system' after role 'user'", ONE_SYSTEM),
    (400, "messages[0].role: unknown variant `developer`, expected one of `system`, `user`", replace(PLAIN, messages=MessageRules())),
    (500, "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", NO_IMAGES),
    (400, "This model does not support image input", NO_IMAGES),
    (400, "This model does not support images.", NO_IMAGES),
    (404, "No endpoints found that support image input", NO_IMAGES),
    (422, "messages[1]: unknown variant `image_url`, expected `text`", NO_IMAGES),
    (400, "At most 0 image(s) may be provided in one prompt.", NO_IMAGES),
    (400, "x is not a multimodal model", NO_IMAGES),
    (400, "Invalid content type. image_url is only supported by certain models.", NO_IMAGES),
    (400, "The model only supports text input", NO_IMAGES),
    (400, "max_tokens is too large: 128000. This model supports at most 16384 completion tokens", request(max_output=16_384)),
    (400, "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", request(max_output=8192)),
    (400, "Invalid 'tools': array too long. Expected an array with maximum length 64, but got an array with length 240 instead.", tools(max_count=64)),
    (400, "'tools' : maximum number of items is 64", tools(max_count=64)),
    (400, "tools.function.parameters is not a valid moonshot flavored json schema, details: <At path 'properties.X': type is not defined>", tools(schema="mfjs")),
    (400, "Failed to initialize samplers: failed to parse grammar", tools(schema="grammar")),
    (400, "JSON schema conversion failed:\nPattern must start with '^' and end with '$'", tools(schema="grammar")),
    (400, "Invalid schema for function 'f': schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level.", tools(schema="openai")),
    (400, "Invalid schema for function 'f': In context=('properties', 'x'), array schema missing items.", tools(schema="openai")),
    (400, "* GenerateContentRequest.tools[0].function_declarations[93].parameters.properties[url].format: only 'enum' and 'date-time' are supported for STRING type", tools(schema="gemini")),
    (400, "Invalid JSON payload received. Unknown name \"$schema\" at 'tools[0].function_declarations[43].parameters': Cannot find field.", tools(schema="gemini")),
]  # fmt: skip

NO_FILES = [
    (400, "Invalid value: 'file'. Supported values are: 'text','image_url','video_url' and 'video'."),
    (400, "Invalid Value: 'file'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', and 'audio'."),
    (400, "Unsupported chat content part type: 'file'"),
    (422, "messages[1]: unknown variant `file`, expected `text` or `image_url`"),
    (400, "This model does not support file content types."),
    (400, "PDF inputs are not supported by this model"),
]

NOTHING: list[tuple[int, str, str]] = [
    (400, "Invalid schema for function 'f': reasoning_effort is odd", "tools[0].function.parameters"),
    (400, "Unknown parameter: 'messages[2].reasoning'.", "messages[2].reasoning"),
    (400, "property 'messages.0.user' is unsupported", ""),
    (400, "Unexpected role 'user' after role 'tool'", ""),
    (400, "Unsupported image format: image/bmp", ""),
    (400, "image is too large: 9 MB", ""),
    (
        400,
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
        "temperature",
    ),
    (400, "'parallel_tool_calls' is only allowed when 'tools' are specified", ""),
    (
        400,
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        "messages",
    ),
    (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', ""),
    (400, "Requests with max_tokens > 4096 must have stream=true", ""),
    (400, "Invalid 'messages[3].tool_calls': array too long. Expected an array with maximum length 128.", ""),
    (400, "went wrong", ""),
    (400, "", ""),
    (401, "Unknown parameter: 'user'", "user"),
    (429, "top_k is not supported", ""),
    (503, "reasoning_effort is not supported", "reasoning_effort"),
]


@pytest.mark.parametrize(("status", "message", "param", "expected"), FIELDS, ids=[row[1][:50] for row in FIELDS])
def test_fields(status: int, message: str, param: str, expected: Profile) -> None:
    taught = lesson(status, message, param, SENT, PLAIN)
    assert taught is not None
    assert taught[0] == expected
    assert 10 < len(taught[1]) < 120
    again = lesson(status, message, param, SENT, taught[0])
    assert again is None or again[0] not in (PLAIN, taught[0])


@pytest.mark.parametrize(("status", "message", "expected"), WORDS, ids=[row[1][:50] for row in WORDS])
def test_sentences(status: int, message: str, expected: Profile) -> None:
    taught = lesson(status, message, "", SENT, PLAIN)
    assert taught is not None
    assert taught[0] == expected
    assert lesson(status, message, "", SENT, taught[0]) is None


def test_every_sentence_has_a_sample() -> None:
    first = {next((i for i, row in enumerate(WORDINGS) if row.pattern.search(text)), None) for _, text, _ in WORDS}
    files = next(place for place, row in enumerate(WORDINGS) if row.pattern.search(NO_FILES[0][1]))
    assert first - {None} == set(range(len(WORDINGS))) - {files}


@pytest.mark.parametrize(("status", "message"), NO_FILES)
def test_files_that_are_not_taken_become_text(status: int, message: str) -> None:
    native = replace(PLAIN, media=MediaRules(pdf="file"))
    assert lesson(status, message, "", SENT, native) == (PLAIN, "the model takes no files")
    assert lesson(status, message, "", SENT, PLAIN) is None


@pytest.mark.parametrize(("status", "message", "param"), NOTHING, ids=[row[1][:50] for row in NOTHING])
def test_nothing_to_learn(status: int, message: str, param: str) -> None:
    assert lesson(status, message, param, SENT, PLAIN) is None


@pytest.mark.parametrize(("status", "message", "param", "expected"), FIELDS, ids=[row[1][:50] for row in FIELDS])
def test_only_fields_that_were_sent(status: int, message: str, param: str, expected: Profile) -> None:
    assert lesson(status, message, param, frozenset({"model", "messages"}), PLAIN) is None


@pytest.mark.parametrize(
    ("message", "param", "efforts"),
    [
        ("Unsupported value: 'reasoning_effort' does not support 'xhigh' with this model. Supported values are: 'low', 'medium', and 'high'.", "reasoning_effort", "low low medium high high high"),
        ("Invalid value: 'max'. Supported values are: 'none', 'minimal', 'low', 'medium', 'high', and 'xhigh'.", "reasoning_effort", "none low medium high xhigh xhigh"),
        ("reasoning_effort: Input should be 'none' or 'high'", "reasoning_effort", "none high high high high high"),
        ("Invalid option: expected one of \"xhigh\"|\"high\"|\"medium\"|\"low\"|\"minimal\"|\"none\" at reasoning.effort", "", "none low medium high xhigh xhigh"),
    ],
)  # fmt: skip
def test_effort_words_move_to_the_next_that_is_taken(message: str, param: str, efforts: str) -> None:
    words = ("none", "low", "medium", "high", "xhigh", "max")
    eager = replace(PLAIN, reasoning=ReasoningRules(efforts={word: word for word in words}))  # type: ignore[misc]
    taught = lesson(400, message, param, SENT, eager)
    assert taught is not None
    assert list(taught[0].reasoning.efforts.values()) == efforts.split()
    assert taught[0].reasoning.control == "effort"


def test_response_format_goes_down_step_by_step() -> None:
    message = "This response_format type is unavailable now"
    first = lesson(400, message, "", SENT, PLAIN)
    assert first is not None
    second = lesson(400, message, "", SENT, first[0])
    assert second is not None
    assert second[0].request.json_schema == "prompt"
    assert lesson(400, message, "", SENT, second[0]) is None


def test_a_limit_is_only_lowered() -> None:
    message = "max_tokens is too large: 9. This model supports at most 8192 completion tokens"
    assert lesson(400, message, "", SENT, request(max_output=4096)) is None
    taught = lesson(400, message, "", SENT, request(max_output=65_536))
    assert taught is not None
    assert taught[0].request.max_output == 8192


def test_a_profile_that_sends_only_auto_drops_the_field() -> None:
    auto = replace(PLAIN, tools=ToolRules(choices=frozenset({"auto"})))
    taught = lesson(400, "tool_choice is not supported", "", SENT, auto)
    assert taught is not None
    assert taught[0].request.drop == {"tool_choice"}


@given(
    st.sampled_from([400, 422, 500, 200, 0]),
    st.text(),
    st.text(max_size=30),
    st.frozensets(st.sampled_from(sorted(SENT))),
)
def test_any_text_is_read(status: int, message: str, param: str, sent: frozenset[str]) -> None:
    taught = lesson(status, message, param, sent, PLAIN)
    assert taught is None or taught[0] != PLAIN
