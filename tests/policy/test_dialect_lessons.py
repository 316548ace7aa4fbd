"""Refusals that lead to another API, in each provider's words."""

# ruff: noqa: E501 - the providers' sentences stand on one line each, whole

import pytest
from msgspec.structs import replace

from latimer.policy.lessons import lesson
from latimer.profile import Dialect, EndpointRules, Profile

CHAT = Profile()
SENT = frozenset({"model", "messages", "tools", "reasoning_effort"})


def speaking(dialect: Dialect, *missing: Dialect) -> Profile:
    return replace(CHAT, endpoint=EndpointRules(dialect=dialect, missing=frozenset(missing)))


def taught(status: int, message: str, profile: Profile) -> Profile | None:
    found = lesson(status, message, "", SENT, profile)
    if found is None:
        return None
    assert 10 < len(found[1]) < 120
    return found[0]


REASONING_AND_TOOLS = [
    "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions. To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
    "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions. Please use /v1/responses instead.",
    "OpenAIException - Function tools with reasoning_effort are not supported for\ngpt-5.6-luna in /v1/chat/completions.",
]
NOT_IN_CHAT = [
    (404, "This model is only supported in v1/responses and not in v1/chat/completions."),
    (404, "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use v1/completions?"),
    (400, 'model "gpt-5.4" is not accessible via the /chat/completions endpoint'),
    (400, "model gpt-5.1-codex-mini is not accessible via the /chat/completions endpoint"),
    (400, "Unsupported legacy protocol: /v1/chat/completions is not supported. Please use /v1/responses."),
]  # fmt: skip
NOT_THERE: list[tuple[int, str]] = [
    (404, "Invalid URL (POST /v1/responses)"),
    (404, "Unknown request URL: POST /responses. Please check the URL for typos, or see the docs at https://platform.openai.com/docs/api-reference/."),
    (404, "404 page not found"),
    (404, "Not Found"),
    (404, "File Not Found"),
    (404, "404 Not Found nginx/1.24.0"),
    (404, "Route /v1/responses not found."),
    (404, "Cannot POST /v1/responses"),
    (404, "no Route matched with those values"),
    (405, "Method Not Allowed"),
    (501, "Not Implemented"),
]  # fmt: skip
NOTHING: list[tuple[int, str, Profile]] = [
    (404, "The model `gpt-9` does not exist or you do not have access to it.", speaking("responses")),
    (404, "model 'qwen9' not found", speaking("messages")),
    (404, "model: claude-9", speaking("messages")),
    (404, "Previous response with id 'resp_1' not found.", speaking("responses")),
    (404, "Not Found", CHAT),
    (404, "Invalid URL (POST /v1/chat/completions)", CHAT),
    (400, "Not Found", speaking("responses")),
    (400, "Please see /v1/responses for other models.", CHAT),
    (404, "", speaking("responses")),
    (429, NOT_IN_CHAT[0][1], CHAT),
]


@pytest.mark.parametrize("message", REASONING_AND_TOOLS)
def test_tools_and_reasoning_are_together_in_responses(message: str) -> None:
    assert taught(400, message, CHAT) == speaking("responses")


@pytest.mark.parametrize("message", REASONING_AND_TOOLS)
def test_where_responses_is_missing_reasoning_goes(message: str) -> None:
    """A reseller may quote OpenAI's sentence without having what it speaks of."""
    alone = speaking("chat", "responses")
    profile = taught(400, message, alone)
    assert profile is not None
    assert set(profile.reasoning.efforts.values()) == {"none"}
    assert profile.endpoint == alone.endpoint
    assert taught(400, message, profile) is None


@pytest.mark.parametrize(("status", "message"), NOT_IN_CHAT)
def test_a_model_that_only_responses_has(status: int, message: str) -> None:
    assert taught(status, message, CHAT) == speaking("responses", "chat")
    assert taught(status, message, speaking("chat", "responses")) is None


@pytest.mark.parametrize("dialect", ["responses", "messages"])
@pytest.mark.parametrize(("status", "message"), NOT_THERE)
def test_an_api_that_is_not_there(status: int, message: str, dialect: Dialect) -> None:
    assert taught(status, message, speaking(dialect)) == speaking("chat", dialect)


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        ("responses", "model gemini-3.1-pro-preview does not support Responses API."),
        ("responses", 'model "claude-opus-4.6" is not accessible via the /responses endpoint'),
        ("messages", 'model "gpt-5.4" is not accessible via the /v1/messages endpoint'),
        ("messages", "model gpt-5.4 does not support Messages API."),
    ],
)
def test_an_api_that_a_model_does_not_have(dialect: Dialect, message: str) -> None:
    assert taught(400, message, speaking(dialect)) == speaking("chat", dialect)


def test_no_two_lessons_chase_each_other() -> None:
    """The worst case: each API points at the other one."""
    profile, seen = CHAT, []
    for message in (REASONING_AND_TOOLS[0], "Not Found", REASONING_AND_TOOLS[0], "Not Found") * 3:
        found = lesson(404 if message == "Not Found" else 400, message, "", SENT, profile)
        if found is not None:
            profile = found[0]
            assert profile not in seen
            seen.append(profile)
    assert len(seen) == 3


@pytest.mark.parametrize(("status", "message", "profile"), NOTHING)
def test_nothing_to_learn(status: int, message: str, profile: Profile) -> None:
    assert taught(status, message, profile) is None
