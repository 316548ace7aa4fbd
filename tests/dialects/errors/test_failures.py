"""What the client is told for everything an upstream can say: by provider, by body shape, and for any bytes at all."""

# ruff: noqa: E501 - the providers' sentences and bodies stand on one line each, whole

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from latimer.dialects.errors.error_body import holds_error, read_body, read_error, redacted, shown
from latimer.dialects.errors.failures import Asked, connection_failure, decode_body_error, failure_of
from latimer.dialects.errors.waits import allowance_wait, duration, wait_asked
from latimer.errors import STATUS, Failure

NOW = 1_790_000_000.0
ASKED = Asked(
    provider="minimax",
    route="minimax/MiniMax-M2",
    key_source="env:MINIMAX_API_KEY",
    model="claude-sonnet-5-5",
    input_estimate=150_000,
    context_window=200_000,
    max_tokens=32_000,
)
ROUTE = "minimax/MiniMax-M2: "


def failure(status: int, body: Any, headers: dict[str, str] | None = None, asked: Asked = ASKED) -> Failure:
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return failure_of(status, headers or {}, read_body(raw), asked, NOW)


def openai(message: str, code: Any = None, type_: str | None = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


# --- body shapes ---

SHAPES: dict[str, tuple[Any, str]] = {
    "openai": (openai("went wrong", "c"), "went wrong"),
    "cerebras, flat": ({"message": "went wrong", "type": "t", "param": "p", "code": "c"}, "went wrong"),
    "mistral, flat": ({"object": "error", "message": "went wrong", "type": "t", "param": None, "code": 3000}, "went wrong"),
    "mistral, message is an object": (
        {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "store"], "msg": "No"}]}},
        "store: No",
    ),
    "fastapi, list": ({"detail": [{"loc": ["body", "n"], "msg": "bad"}, {"loc": ["body", "o"], "msg": "worse"}]}, "n: bad; o: worse"),
    "fastapi, string": ({"detail": "went wrong"}, "went wrong"),
    "gemini, array": ([{"error": {"code": 400, "message": "went wrong", "status": "INVALID_ARGUMENT"}}], "went wrong"),
    "xai": ({"code": "Client specified an invalid argument", "error": "went wrong"}, "went wrong"),
    "siliconflow": ({"code": 20015, "message": "went wrong", "data": None}, "went wrong"),
    "z.ai": ({"error": {"code": "1214", "message": "went wrong"}}, "went wrong"),
    "z.ai, flat": ({"code": "1210", "message": "went wrong"}, "went wrong"),
    "minimax": (
        {"type": "error", "error": {"type": "bad_request_error", "message": "went wrong (2013)", "http_code": "400"}},
        "went wrong (2013)",
    ),
    "minimax, native": ({"base_resp": {"status_code": 2013, "status_msg": "went wrong"}}, "went wrong"),
    "dashscope": ({"error": {"code": "invalid_parameter_error", "message": "<400> Internal: went wrong"}}, "went wrong"),
    "fireworks": ({"error": {"object": "error", "type": "t", "code": "c", "message": "went wrong"}}, "went wrong"),
    "openrouter, raw": (
        {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": '{"error":{"message":"went wrong"}}'}}},
        "Provider returned error: went wrong",
    ),
    "llama.cpp": ({"error": {"code": 400, "message": "went wrong", "type": "invalid_request_error"}}, "went wrong"),
    "tgi": ({"error": "went wrong", "error_type": "validation"}, "went wrong"),
    "copilot, text": ("Bad Request", "Bad Request"),
    "json string": ('"went wrong"', "went wrong"),
    "an event": ('event: error\ndata: {"error":{"message":"went wrong"}}\n\n', "went wrong"),
    "no known key": ({"reason": "went wrong"}, '{"reason":"went wrong"}'),
    "html": ("<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>", "502 Bad Gateway nginx"),
    "cloudflare": ("<!DOCTYPE html><title>Just a moment...</title><script>var a='b';</script><p>Checking &amp; waiting</p>", "Just a moment...: Checking & waiting"),
    "not utf-8": (b"went \xff\xfewrong", "went wrong"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "text"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("status", [400, 500])
def test_every_shape_of_body(body: Any, text: str, status: int) -> None:
    told = failure(status, body)
    assert told.type == ("api_error" if status == 500 else "invalid_request_error")
    assert told.message.startswith(ROUTE)
    assert text in told.message


@pytest.mark.parametrize("body", ["", "   \n", "null", "{}", "[]", "[null]", '{"error":null}', "<html></html>"])
def test_an_empty_body_still_says_something(body: str) -> None:
    assert failure(500, body).message == f"{ROUTE}status 500 without a message."


def test_deep_nesting_is_no_bomb() -> None:
    assert failure(500, "[" * 100_000).type == "api_error"
    assert failure(400, {"error": {"message": {"detail": {"message": {"detail": {"message": {"detail": {}}}}}}}})


def test_the_reading_itself() -> None:
    body = read_error(
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "reasoning_effort"], "msg": "Extra inputs"}]}
    )
    assert (body.message, body.param) == ("reasoning_effort: Extra inputs", "reasoning_effort")
    openai_body = read_error(openai("no", 400, "BadRequestError", "temperature"))
    assert (openai_body.words, openai_body.param, openai_body.status) == (
        ("400", "BadRequestError"),
        "temperature",
        400,
    )
    assert read_body(b"<html><title>x</title>").html


@pytest.mark.parametrize(
    ("body", "yes"),
    [
        ({"error": {"message": "x"}}, True),
        ({"error": {"message": "x"}, "choices": []}, True),
        ([{"error": {}}, 1], False),
        ([{"error": {"code": 1}}], True),
        ({"object": "error", "message": "x"}, True),
        ({"code": 20015, "message": "x", "data": None}, True),
        ({"detail": "Not Found"}, True),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, True),
        ({"base_resp": {"status_code": 0, "status_msg": ""}, "choices": [{}]}, False),
        ({"choices": [{"delta": {}}], "error": None}, False),
        ({"id": "x", "choices": [], "usage": {}}, False),
        ("text", False),
    ],
)
def test_an_error_inside_a_200_is_recognised(body: Any, yes: bool) -> None:
    assert holds_error(body) is yes


# --- causes ---

SERVER_WORDS = "The server had an error"
CAUSES: dict[str, tuple[int, Any, str, bool | None]] = {
    "wrong key": (401, openai("Incorrect API key provided: sk-ab***cd", "invalid_api_key"), "authentication_error", False),
    "wrong key, empty": (401, "", "authentication_error", False),
    "wrong key, gemini": (400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}}], "authentication_error", False),
    "wrong key, xai": (400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***"}, "authentication_error", False),
    "wrong key, 403": (403, openai("This API key has been blocked"), "authentication_error", False),
    "wrong key, minimax": (200, {"base_resp": {"status_code": 2049, "status_msg": "invalid api key"}}, "authentication_error", False),
    "region": (403, openai("Country, region, or territory not supported", "unsupported_country_region_territory"), "permission_error", False),
    "model access": (403, openai("Project `p` does not have access to this deployment"), "permission_error", False),
    "cloudflare block": (403, "<!DOCTYPE html><title>Attention Required!</title> api key", "permission_error", False),
    "no balance": (402, openai("Insufficient Balance", "invalid_request_error"), "billing_error", False),
    "no quota, openai": (429, openai("You exceeded your current quota, please check your plan and billing details.", "insufficient_quota", "insufficient_quota"), "billing_error", False),
    "no quota, moonshot": (429, openai("Your account is suspended", None, "exceeded_current_quota_error"), "billing_error", False),
    "no quota, z.ai": (429, {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}, "billing_error", False),
    "no quota, dashscope": (400, openai("Access denied, please make sure your account is in good standing.", "Arrearage"), "billing_error", False),
    "no quota, minimax": (200, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "billing_error", False),
    "credit, openrouter": (402, {"error": {"message": "This request requires more credits, or fewer max_tokens. You requested up to 64000 tokens, but can only afford 1200.", "code": 402}}, "billing_error", False),
    "no model, openai": (404, openai("The model `x` does not exist or you do not have access to it.", "model_not_found"), "conflict_error", False),
    "no model, ollama": (404, openai('model "x" not found, try pulling it first', None, "api_error"), "conflict_error", False),
    "no model, deepseek": (400, openai("Model Not Exist", "invalid_request_error"), "conflict_error", False),
    "no model, openrouter": (400, {"error": {"message": "x is not a valid model ID", "code": 400}}, "conflict_error", False),
    "no endpoint, openrouter": (404, {"error": {"message": "No endpoints found for x.", "code": 404}}, "conflict_error", False),
    "no model, gemini": (404, [{"error": {"code": 404, "message": "models/x is not found for API version v1main", "status": "NOT_FOUND"}}], "conflict_error", False),
    "no deployment, azure": (404, openai("The API deployment for this resource does not exist.", "DeploymentNotFound"), "conflict_error", False),
    "no model, moonshot": (404, openai("Not found the model x or Permission denied", None, "resource_not_found_error"), "conflict_error", False),
    "no model, z.ai": (400, {"error": {"code": "1211", "message": "Unknown Model, please check the model code."}}, "conflict_error", False),
    "no path, openai": (404, openai("Invalid URL (POST /v1/v1/chat/completions)", None, "invalid_request_error"), "api_error", False),
    "no path, go": (404, "404 page not found", "api_error", False),
    "no path, fastapi": (404, {"detail": "Not Found"}, "api_error", False),
    "no path, page about models": (404, "<html><title>404</title>Our models</html>", "api_error", False),
    "no path, empty": (404, "", "api_error", False),
    "no path, method": (405, {"detail": "Method Not Allowed"}, "api_error", False),
    "redirect": (301, "<html><title>Moved</title></html>", "api_error", False),
    "not implemented": (501, "", "api_error", False),
    "too large": (413, "<html><title>413 Request Entity Too Large</title></html>", "request_too_large", False),
    "rate": (429, openai("Rate limit reached", "rate_limit_exceeded"), "rate_limit_error", None),
    "rate, gemini's free tier": (429, [{"error": {"code": 429, "message": "You exceeded your current quota, please check your plan and billing details.", "status": "RESOURCE_EXHAUSTED", "details": [{"@type": "t/google.rpc.RetryInfo", "retryDelay": "37s"}]}}], "rate_limit_error", None),
    "overloaded": (503, openai("The engine is currently overloaded"), "overloaded_error", None),
    "overloaded, moonshot": (429, openai("The engine is currently overloaded", None, "engine_overloaded_error"), "overloaded_error", None),
    "overloaded, z.ai": (429, {"error": {"code": "1305", "message": "busy"}}, "overloaded_error", None),
    "overloaded, page": (503, "<html><title>503 Service Temporarily Unavailable</title></html>", "overloaded_error", None),
    "overloaded, anthropic": (529, openai("Overloaded", None, "overloaded_error"), "overloaded_error", None),
    "deepseek has no room": (500, openai("insufficient_system_resource"), "overloaded_error", None),
    "request timeout": (408, "", "timeout_error", None),
    "gateway timeout": (504, "<html><title>504 Gateway Time-out</title></html>", "timeout_error", None),
    "cloudflare timeout": (524, "", "timeout_error", None),
    "server": (500, openai(SERVER_WORDS, None, "server_error"), "api_error", None),
    "bad gateway": (502, "<html><title>502 Bad Gateway</title></html>", "api_error", None),
    "conflict": (409, openai("in use"), "conflict_error", None),
    "filtered, dashscope": (400, openai("Input data may contain inappropriate content.", "data_inspection_failed"), "invalid_request_error", None),
    "filtered, azure": (400, openai("The response was filtered due to Azure OpenAI's content management policy.", "content_filter"), "invalid_request_error", None),
    "filtered, openrouter": (403, {"error": {"message": "x requires moderation on y. Your input was flagged for \"z\".", "code": 403}}, "invalid_request_error", None),
    "unknown 400": (400, openai("tools[3].function.parameters.properties.api_key: bad schema"), "invalid_request_error", None),
    "unknown 422": (422, {"detail": [{"loc": ["body", "x"], "msg": "no"}]}, "invalid_request_error", None),
    "teapot": (418, "", "invalid_request_error", None),
}  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind", "should_retry"), CAUSES.values(), ids=CAUSES)
def test_causes(status: int, body: Any, kind: str, should_retry: bool | None) -> None:
    told = decode_body_error(body, ASKED) if status == 200 else failure(status, body)
    assert (told.type, told.should_retry) == (kind, should_retry)
    assert told.message.startswith(ROUTE)


IN_ANSWER: dict[str, tuple[Any, str]] = {
    "openrouter": ({"error": {"code": 502, "message": "Provider disconnected"}, "choices": []}, "api_error"),
    "openrouter, limit": ({"error": {"code": 429, "message": "Rate limit exceeded"}}, "rate_limit_error"),
    "sglang": ({"error": {"message": "bad", "type": "BadRequestError", "code": 400}}, "invalid_request_error"),
    "openai responses": (
        {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "slow"}},
        "rate_limit_error",
    ),
    "type only": ({"error": {"type": "invalid_request_error", "message": "bad"}}, "invalid_request_error"),
    "overloaded": ({"error": {"type": "overloaded_error", "message": "Overloaded"}}, "overloaded_error"),
    "server": ({"error": {"type": "server_error", "message": "oops"}}, "api_error"),
    "string": ({"error": "something broke"}, "api_error"),
    "nothing": ({"error": True}, "api_error"),
    "no object": (None, "api_error"),
    "vllm": ({"object": "error", "message": "x", "code": 404, "type": "NotFoundError"}, "api_error"),
}


@pytest.mark.parametrize(("body", "kind"), IN_ANSWER.values(), ids=IN_ANSWER)
def test_errors_inside_an_answer(body: Any, kind: str) -> None:
    assert decode_body_error(body, ASKED).type == kind


# --- what Claude Code parses ---


def prompt(n: int, m: int) -> str:
    return f"prompt is too long: {n} tokens > {m} maximum"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, openai("request (9000 tokens) exceeds the available context size (8192 tokens)"), prompt(9000, 8192)),
        (400, openai("the request exceeds the available context size. try increasing"), prompt(210_001, 200_000)),
        (400, {"error": {"code": 400, "message": "the request exceeds the available context size", "type": "exceed_context_size_error", "n_prompt_tokens": 9000, "n_ctx": 8192}}, prompt(9000, 8192)),
        (400, openai("Range of input length should be [1, 129024]"), prompt(150_000, 129_024)),
        (400, openai("too long", "context_length_exceeded"), prompt(210_001, 200_000)),
        (413, openai("prompt token count of 210000 exceeds the limit of 200000", "model_max_prompt_tokens_exceeded"), prompt(210_000, 200_000)),
        (500, openai("the prompt is longer than the context length currently available"), prompt(210_001, 200_000)),
    ],
)  # fmt: skip
def test_overflow_is_one_exact_sentence(status: int, body: Any, message: str) -> None:
    assert failure(status, body) == Failure("invalid_request_error", message)


def test_overflow_inside_a_stream() -> None:
    body = {
        "type": "error",
        "error": {"code": "context_length_exceeded", "message": "Your input exceeds the context window"},
    }
    assert decode_body_error(body, ASKED).message == prompt(210_001, 200_000)


@pytest.mark.parametrize(("estimate", "window"), [(0, 0), (1, 0), (5_000, 0), (0, 10), (7, 100_000)])
def test_missing_numbers_still_say_that_n_is_more_than_m(estimate: int, window: int) -> None:
    asked = replace(ASKED, input_estimate=estimate, context_window=window)
    words = failure(400, openai("Prompt exceeds max length", "1261"), asked=asked).message.split()
    assert int(words[4]) > int(words[7]) > 0


TOTAL = "This endpoint's maximum context length is 200000 tokens. However, you requested about {} tokens ({} of text input, 64000 in the output)."


def test_a_total_overflow_lets_the_client_lower_max_tokens() -> None:
    told = failure(400, openai(TOTAL.format(244_000, 180_000)))
    assert told.message == (
        "input length and `max_tokens` exceed context limit: 180000 + 64000 > 200000,"
        " decrease input length or `max_tokens` and try again"
    )
    assert failure(400, openai(TOTAL.format(265_000, 201_000))).message == prompt(201_000, 200_000)


def test_a_total_without_its_parts_uses_the_estimate() -> None:
    told = failure(
        400, {"code": 20015, "message": "max_total_tokens (214000) must be less than or equal to max_seq_len (163840)"}
    )
    assert told.message.startswith("input length and `max_tokens` exceed context limit: 150000 + 32000 > 163840, ")


def test_too_many_output_tokens() -> None:
    body = openai("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]")
    assert failure(400, body).message == (
        "max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for claude-sonnet-5-5"
    )
    assert failure(400, body, asked=replace(ASKED, max_tokens=8000)).message.startswith(ROUTE)
    assert failure(400, body, asked=replace(ASKED, max_tokens=None)).message.startswith(ROUTE)


def test_a_full_window_refused_without_a_word() -> None:
    full = replace(ASKED, input_estimate=190_000)
    assert failure(400, "", asked=full).message == prompt(210_001, 200_000)
    assert failure(413, "failed to parse request", asked=full).message == prompt(210_001, 200_000)
    assert failure(413, "failed to parse request").type == "request_too_large"
    assert failure(400, "").message == f"{ROUTE}status 400 without a message."


# --- messages ---


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("env:MINIMAX_API_KEY", "refused the key from the environment variable MINIMAX_API_KEY"),
        ("env:ZAI_API_KEY|ZHIPU_API_KEY", "refused the key from the environment variable ZAI_API_KEY or ZHIPU_API_KEY"),
        ("keyring:mm", "refused the key from the keyring entry mm"),
        ("file:/home/me/key", "refused the key from the file /home/me/key"),
        ("command:pass show mm --token=abc123", "refused the key that the command of api_key printed"),
        ("", "refused a request without a key"),
        ("env:sk-canary1234567890", "environment variable [redacted]"),
        ("sk-canary1234567890", "the configured key"),
    ],
)
def test_a_wrong_key_names_its_source_and_nothing_of_it(source: str, words: str) -> None:
    told = failure(
        401, openai("Incorrect API key provided: sk-canary1234567890"), asked=replace(ASKED, key_source=source)
    )
    assert words in told.message
    assert "minimax" in told.message
    assert "canary" not in told.message
    assert "abc123" not in told.message


def test_a_missing_model_names_model_provider_and_cure() -> None:
    message = failure(404, openai("The model `MiniMax-M2` does not exist", "model_not_found")).message
    for word in ("minimax does not offer the model MiniMax-M2", "claude-sonnet-5-5", "--model", "[routes]"):
        assert word in message


def test_a_wrong_path_says_base_url() -> None:
    assert "base_url" in failure(404, "404 page not found").message


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_messages_are_capped(status: int) -> None:
    told = failure(status, openai("ä" * 50_000), asked=replace(ASKED, route="p/" + "m" * 3000))
    assert len(told.message.encode()) <= 2048
    told = failure(status, openai("ä" * 50_000))
    assert "…" in told.message


SECRETS = {
    "key sk-proj-abcdefgh1234 is bad": "key [redacted] is bad",
    "Authorization: Bearer abcdef123456xyz": "Authorization: Bearer [redacted]",
    "https://user:pass@host/v1": "https://[redacted]@host/v1",
    "GET /v1?key=AIzaSyA1234 failed": "GET /v1?key=[redacted] failed",
    "Incorrect API key provided: hunter. You": "Incorrect API key provided: [redacted] You",
    "api_key='letmein'": "api_key='[redacted]'",
    "token 0123456789abcdef0123456789abcdef end": "token [redacted] end",
    "gsk_abcdefghijklmnop": "[redacted]",
    "nvapi-abc_def-ghijklmnop": "[redacted]",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln": "[redacted]",
    "0123456789abcdef0123456789abcdef.AbCdEfGhIjKlMnOp": "[redacted]",
}


@pytest.mark.parametrize(("text", "clean"), SECRETS.items())
def test_keys_are_redacted(text: str, clean: str) -> None:
    assert redacted(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "The model `Qwen3-Coder-480B-A35B-Instruct-FP8` does not exist",
        "accounts/fireworks/models/llama4-maverick-instruct-basic is task-specific, risk-averse",
        "max_tokens: 32000 is above 8192; you requested 999999 tokens",
        "Unsupported parameter: 'prompt_cache_key'",
        "basic authentication is off, bearer tokens are needed",
        "urn:uuid:0d1f7a52-1111-2222-3333-444455556666",
    ],
)
def test_ordinary_words_are_not_redacted(text: str) -> None:
    assert redacted(text) == text


def test_shown_is_one_line() -> None:
    assert shown("a\n\n  b\tc") == "a b c"


# --- waits ---


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6m0s", 360), ("1.2s", 1.2), ("12ms", 0.012), ("1h2m3s", 3723), ("2d", 172_800), ("37s", 37), ("", None), ("x", None), ("5", None), ("5s x", None)],
)  # fmt: skip
def test_durations(text: str, seconds: float | None) -> None:
    assert duration(text) == (pytest.approx(seconds) if seconds is not None else None)


WAITS: dict[str, tuple[dict[str, str], str, float | None]] = {
    "seconds": ({"Retry-After": "7"}, "", 7),
    "fraction": ({"retry-after": "1.5"}, "", 1.5),
    "milliseconds": ({"retry-after-ms": "250", "retry-after": "1"}, "", 0.25),
    "date": ({"retry-after": "Mon, 21 Sep 2026 14:13:50 GMT"}, "", 30),
    "date that is past": ({"retry-after": "Mon, 21 Sep 2015 14:13:50 GMT"}, "", 0),
    "epoch": ({"retry-after": "1790000012"}, "", 12),
    "duration": ({"retry-after": "20s"}, "", 20),
    "groq": ({}, "Rate limit reached. Please try again in 5.289s. Visit", 5.289),
    "groq, minutes": ({}, "Please try again in 1m26.4s.", 86.4),
    "openai": ({}, "Please try again in 20ms.", 0.02),
    "words": ({}, "Please retry after 30 seconds.", 30),
    "more words": ({}, "Your limit resets in 1 hour and 5 minutes", 3900),
    "azure": ({}, "Please retry after 6 seconds. Please contact", 6),
    "header before words": ({"retry-after": "3"}, "try again in 9s", 3),
    "tokens ran out": (
        {"x-ratelimit-remaining-requests": "10", "x-ratelimit-reset-requests": "2h", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"},
        "",
        360,
    ),
    "both ran out": (
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6s"},
        "",
        60,
    ),
    "anthropic's own": (
        {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2026-09-21T14:14:05Z", "anthropic-ratelimit-requests-remaining": "3", "anthropic-ratelimit-requests-reset": "2026-09-21T15:00:00Z"},
        "",
        45,
    ),
    "unknown which": ({"x-ratelimit-reset-requests": "2h", "x-ratelimit-reset-tokens": "7.66s"}, "", 7.66),
    "openrouter": ({"X-RateLimit-Reset": "1790000005000"}, "", 5),
    "nothing": ({}, "slow down", None),
    "nonsense": ({"retry-after": "soon"}, "", None),
    "not a number": ({"retry-after": "nan"}, "", None),
    "endless": ({"retry-after": "1e99"}, "", None),
    "below zero": ({"retry-after": "-5"}, "", 0),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "text", "seconds"), WAITS.values(), ids=WAITS)
def test_waits(headers: dict[str, str], text: str, seconds: float | None) -> None:
    told = failure(429, openai(text or "slow down"), headers)
    assert told.type == "rate_limit_error"
    assert told.retry_after == (pytest.approx(seconds) if seconds is not None else None)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "9s"}, None),
        ({"x-ratelimit-remaining-requests": "0"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "0s"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"}, 9),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m"}, 60),
        ({"anthropic-ratelimit-output-tokens-remaining": "0", "anthropic-ratelimit-output-tokens-reset": "2026-09-21T14:13:30+00:00"}, 10),
        ({"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": "soon"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1e30"}, None),
    ],
)  # fmt: skip
def test_an_allowance_that_is_used_up(headers: dict[str, str], seconds: float | None) -> None:
    assert allowance_wait(headers, NOW) == (pytest.approx(seconds) if seconds is not None else None)


def test_gemini_says_it_in_the_details() -> None:
    body = CAUSES["rate, gemini's free tier"][1]
    assert failure(429, body).retry_after == 37


def test_openrouter_says_it_in_the_metadata() -> None:
    body = {"error": {"message": "Rate limit exceeded: free-models-per-min", "code": 429, "metadata": {"headers": {"X-RateLimit-Reset": "1790000009000"}}}}  # fmt: skip
    assert failure(429, body).retry_after == 9


def test_a_long_wait_stops_the_client_and_says_when() -> None:
    told = failure(429, openai("Daily limit"), {"retry-after": "7500"})
    assert (told.retry_after, told.should_retry) == (7500, False)
    assert told.message == f"{ROUTE}Daily limit. It can be used again in 2 h 5 min."
    assert failure(429, openai("x"), {"retry-after": "60"}).should_retry is None
    assert failure(503, openai("x"), {"retry-after": "61"}).should_retry is False


def test_only_what_passes_by_itself_has_a_wait() -> None:
    assert failure(401, openai("x"), {"retry-after": "5"}).retry_after is None
    assert failure(500, openai("x"), {"retry-after": "5"}).retry_after == 5


# --- no answer ---


@pytest.mark.parametrize(
    ("kind", "type_", "should_retry", "words"),
    [
        ("refused", "api_error", None, "server is running"),
        ("reset", "api_error", None, "closed"),
        ("dns", "api_error", None, "spelling of base_url"),
        ("tls", "api_error", False, "SSL_CERT_FILE"),
        ("timeout", "timeout_error", None, "in time"),
        ("other", "api_error", None, "base_url"),
    ],
)
def test_connection_failures_say_what_to_check(kind: Any, type_: str, should_retry: bool | None, words: str) -> None:
    told = connection_failure(kind, ASKED, "127.0.0.1:8080 {braces} Bearer sk-canary1234")
    assert (told.type, told.should_retry) == (type_, should_retry)
    assert told.message.startswith(ROUTE)
    assert words in told.message
    assert "127.0.0.1:8080 {braces}" in told.message
    assert "canary" not in told.message


# --- anything at all ---

CANARY = "sk-canary7Q9zLk2Wm4Xp"
KEYED = [CANARY, f"Bearer {CANARY}", f"api_key={CANARY}", f'"{CANARY}"', f"({CANARY})"]
STATUSES = st.integers(-1, 1100)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "Retry-After-MS", "x-ratelimit-reset-tokens", "x-ratelimit-reset", "x-ratelimit-remaining-tokens"])
    | st.text(max_size=8),
    st.text(max_size=30) | st.floats().map(str) | st.integers().map(str),
    max_size=5,
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["error", "message", "code", "type", "param", "detail", "loc", "msg", "metadata", "raw", "headers", "details", "retryDelay", "base_resp", "status_code", "status_msg", "n_ctx", "n_prompt_tokens", "http_code", "object"])
        | st.text(max_size=5),
        inner,
        max_size=6,
    ),
    max_leaves=20,
)  # fmt: skip


def check(told: Failure) -> None:
    assert told.type in STATUS
    assert told.message
    assert len(told.message.encode()) <= 2048
    assert told.retry_after is None or 0 <= told.retry_after <= 366 * 86_400
    assert told.retry_after is None or told.retry_after <= 60 or told.should_retry is False


@given(STATUSES, HEADERS, st.binary())
def test_any_bytes_become_a_failure(status: int, headers: dict[str, str], body: bytes) -> None:
    check(failure_of(status, headers, read_body(body), ASKED, NOW))


@given(STATUSES, HEADERS, VALUES)
def test_any_json_becomes_a_failure(status: int, headers: dict[str, str], body: Any) -> None:
    raw = json.dumps(body).encode("utf-8", "surrogatepass")
    check(failure_of(status, headers, read_body(raw), ASKED, NOW))
    check(decode_body_error(body, ASKED))
    holds_error(body)


@given(
    STATUSES, st.text(), st.sampled_from(KEYED), st.text(), st.sampled_from(["text", "openai", "raw", "html", "event"])
)
def test_a_key_in_the_body_never_reaches_the_client(status: int, before: str, key: str, after: str, shape: str) -> None:
    text = f"{before}{key}{after}"
    bodies: dict[str, Any] = {
        "text": text,
        "openai": openai(text),
        "raw": {"error": {"message": "x", "metadata": {"raw": text}}},
        "html": f"<html><title>{text}</title><p>{text}</p></html>",
        "event": f"data: {json.dumps(openai(text))}\n\n",
    }
    told = failure(
        status,
        json.dumps(bodies[shape]) if isinstance(bodies[shape], dict) else bodies[shape].encode("utf-8", "replace"),
    )
    check(told)
    assert CANARY not in told.message
    check(connection_failure("other", ASKED, text))
    assert CANARY not in connection_failure("other", ASKED, text).message


@given(st.text(), HEADERS, st.text(max_size=20), st.floats())
def test_any_headers_give_a_wait_or_none(message: str, headers: dict[str, str], info: str, now: float) -> None:
    wait = wait_asked(headers, info, message, now)
    assert wait is None or wait >= 0
