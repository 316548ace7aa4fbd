"""Every provider's way to say that a prompt does not fit, and what sounds like it but is something else."""

# ruff: noqa: E501 - the providers' sentences and bodies stand on one line each, whole

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.dialects.errors.overflow import TABLE, Overflow, read_output_limit, read_overflow

N, M, OUT = 210_000, 200_000, 32_000
SMALL = 150_000

INPUT = {
    "anthropic": f"prompt is too long: {N} tokens > {M} maximum",
    "openai": f"This model's maximum context length is {M} tokens. However, your messages resulted in {N} tokens."
    " Please reduce the length of the messages.",
    "openai gpt-5": f"Input tokens exceed the configured limit of {M} tokens. Your messages resulted in {N} tokens."
    " Please reduce the length of the messages.",
    "moonshot": f"Invalid request: Your request exceeded model token limit: {M} (requested: {N})",
    "moonshot, misspelt": f"Invalid request: Your request exceeded model token limit: {M} (re quested: {N})",
    "gemini": f"The input token count ({N}) exceeds the maximum number of tokens allowed ({M}).",
    "gemini with commas": f"The input token count ({N:,}) exceeds the maximum number of tokens allowed ({M:,}).",
    "mistral": f"Prompt contains {N} tokens and 0 draft tokens, too large for model with {M} maximum context length",
    "mistral, older": f"Prompt contains {N} tokens, too large for model with {M} maximum context length",
    "xai": f"This model's maximum prompt length is {M} but the request contains {N} tokens.",
    "cerebras": f"Please reduce the length of the messages or completion. Current length is {N} while limit is {M}",
    "together, sglang": f"The input ({N} tokens) is longer than the model's context length ({M} tokens).",
    "sambanova": f"The provided prompt is {N} tokens long, but the maximum supported sequence length is just {M}.",
    "siliconflow": f"length of prompt_tokens ({N}) must be less than max_seq_len ({M}).",
    "volcengine": f"Input length {N} exceeds the maximum length {M}",
    "copilot": f"prompt token count of {N} exceeds the limit of {M}",
    "llama.cpp": f"request ({N} tokens) exceeds the available context size ({M} tokens), try increasing it",
    "lm studio": f"Trying to keep the first {N} tokens when context the overflows. However, the model is loaded with"
    f" context length of only {M} tokens, which is not enough.",
    "lm studio, newer": f"The number of tokens to keep from the initial prompt is greater than the context length"
    f" (n_keep: {N} >= n_ctx: {M})",
    "tgi": f"Input validation error: `inputs` must have less than {M} tokens. Given: {N}",
    "vllm, prompt alone": f"This model's maximum context length is {M} tokens. However, your request has {N} input"
    " tokens. Please reduce the length of the input messages.",
    "vllm, engine": f"The decoder prompt (length {N}) is longer than the maximum model length of {M}. Make sure that",
    "groq, more than a minute's allowance": "Request too large for model `m` in organization `org_1` service tier"
    f" `on_demand` on tokens per minute (TPM): Limit {M}, Requested {N}, please reduce your message size.",
    "openai, more than a minute's allowance": "Request too large for gpt-4 in organization org-1 on tokens per min"
    f" (TPM): Limit {M}, Requested {N}. The input or output tokens must be reduced in order to run successfully.",
    "wrapped by LiteLLM": "litellm.BadRequestError: OpenAIException - Error code: 400 - {'error': {'message':"
    f' "This model\'s maximum context length is {M} tokens. However, your messages resulted in {N} tokens."}}}}',
}

TOTAL = {
    "anthropic": f"input length and `max_tokens` exceed context limit: {SMALL} + {OUT} > {M}, decrease input length or",
    "deepseek": f"This model's maximum context length is {M} tokens. However, you requested {SMALL + OUT} tokens"
    f" ({SMALL} in the messages, {OUT} in the completion). Please reduce the length of the messages or completion.",
    "openai with functions": f"This model's maximum context length is {M} tokens. However, you requested {SMALL + OUT}"
    f" tokens ({SMALL - 500} in the messages, 500 in the functions, and {OUT} in the completion).",
    "openai completions": f"This model's maximum context length is {M} tokens, however you requested {SMALL + OUT} tokens"
    f" ({SMALL} in your prompt; {OUT} for the completion). Please reduce your prompt; or completion length.",
    "openrouter": f"This endpoint's maximum context length is {M} tokens. However, you requested about {SMALL + OUT}"
    f" tokens ({SMALL} of text input, {OUT} in the output). Please reduce the length of either one, or use the",
    "openrouter with tools": f"This endpoint's maximum context length is {M} tokens. However, you requested about"
    f" {SMALL + OUT} tokens ({SMALL - 900} of text input, 900 of tool input, {OUT} in the output).",
    "vllm": f"This model's maximum context length is {M} tokens. However, you requested {OUT} output tokens and your"
    f" prompt contains {SMALL} input tokens, for a total of {SMALL + OUT} tokens.",
    "vllm, at least": f"This model's maximum context length is {M} tokens. However, you requested {OUT} output tokens and"
    f" your prompt contains at least {SMALL} input tokens, for a total of at least {SMALL + OUT} tokens.",
    "vllm, older": f"'max_tokens' or 'max_completion_tokens' is too large: {OUT}. This model's maximum context length is"
    f" {M} tokens and your request has {SMALL} input tokens ({OUT} > {M} - {SMALL}).",
    "vllm, newest": f"You passed {SMALL} input tokens and requested {OUT} output tokens. However, the model's context"
    f" length is only {M} tokens, resulting in a maximum input length of {M - OUT} tokens.",
    "sglang": f"Requested token count exceeds the model's maximum context length of {M} tokens. You requested a total of"
    f" {SMALL + OUT} tokens: {SMALL} tokens from the input messages and {OUT} tokens for the completion.",
    "tgi": f"Input validation error: `inputs` tokens + `max_new_tokens` must be <= {M}. Given: {SMALL} `inputs` tokens"
    f" and {OUT} `max_new_tokens`",
}

WITHOUT_NUMBERS = {
    "openai responses": ("Your input exceeds the context window of this model. Please adjust your input and try.", 400),
    "z.ai": ("Prompt exceeds max length", 400),
    "minimax": ("invalid params, context window exceeds limit (2013)", 400),
    "groq": ("Please reduce the length of the messages or completion.", 400),
    "fireworks": ("The prompt is too long", 400),
    "ollama": ("prompt too long; exceeded max context length by 812 tokens", 400),
    "ollama, runner": ("the prompt is longer than the context length currently available", 500),
    "lm studio": ("The number of tokens to keep from the initial prompt is greater than the context length", 400),
    "litellm": ("litellm.ContextWindowExceededError: Context Window exceeded for given call.", 400),
    "llama.cpp, older": ("the request exceeds the available context size. try increasing the context size", 400),
    "bedrock": ("Input is too long for requested model.", 400),
    "copilot": ("tokens in request more than max tokens allowed", 400),
    "volcengine": ("Total tokens of image and text exceed max message tokens. Request id: 02", 400),
}

OTHERS = {
    "rate limit": ("Rate limit reached for model `m` on tokens per minute (TPM): Limit 6000, Used 5000, Requested 1500.", 429),
    "rate limit as 400": ("Too many requests: tokens per minute exceeded, context length fine", 400),
    "string too long": ("Invalid 'messages[3].content': string too long. Expected a string with maximum length 1048576", 400),
    "array too long": ("Invalid 'tools': array too long. Expected an array with maximum length 128", 400),
    "cache key": ("Invalid 'prompt_cache_key': string too long. Expected a string with maximum length 64", 400),
    "content filter": ("Input data may contain inappropriate content. data_inspection_failed", 400),
    "output limit": ("max_tokens is too large: 32000. This model supports at most 16384 completion tokens", 400),
    "stream only": ("Requests with max_tokens > 4096 must have stream=true", 400),
    "credit": ("This request requires more credits, or fewer max_tokens. You requested up to 64000 tokens", 402),
    "wrong key, whatever it says": ("prompt is too long: 5 tokens > 4 maximum", 401),
    "dlp": ("prompt is too long or dlp_request_denied", 400),
    "schema": ("Invalid schema for function 'f': None is not of type 'object'", 400),
    "tool name": ("Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64", 400),
    "nothing": ("", 400),
}  # fmt: skip


@pytest.mark.parametrize("message", INPUT.values(), ids=INPUT)
@pytest.mark.parametrize("status", [0, 400, 413, 422, 500])
def test_a_prompt_that_is_too_long_by_itself(message: str, status: int) -> None:
    assert read_overflow(message, "", status) == Overflow(N, None, M, "input")


def test_a_request_larger_than_the_rate_is_an_overflow_even_as_429() -> None:
    message = INPUT["groq, more than a minute's allowance"]
    assert read_overflow(message, "rate_limit_exceeded", 429) == Overflow(N, None, M, "input")


@pytest.mark.parametrize("message", TOTAL.values(), ids=TOTAL)
def test_prompt_and_answer_together(message: str) -> None:
    assert read_overflow(message, "", 400) == Overflow(SMALL, OUT, M, "total")


@pytest.mark.parametrize("message", TOTAL.values(), ids=TOTAL)
def test_a_total_whose_prompt_alone_is_too_long_is_an_input(message: str) -> None:
    longer = message.replace(str(SMALL + OUT), str(N + OUT)).replace(str(SMALL - 500), str(N - 500))
    longer = longer.replace(str(SMALL - 900), str(N - 900)).replace(str(SMALL), str(N))
    found = read_overflow(longer, "", 400)
    assert found is not None
    assert (found.input_tokens, found.window, found.kind) == (N, M, "input")


def test_only_the_sum() -> None:
    message = f"max_total_tokens ({N}) must be less than or equal to max_seq_len ({M})"
    assert read_overflow(message, "20015", 400) == Overflow(None, None, M, "total")


def test_only_the_window() -> None:
    dashscope = "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]"
    assert read_overflow(dashscope, "invalid_parameter_error", 400) == Overflow(None, None, 129_024, "input")
    gemini = "The input token count exceeds the maximum number of tokens allowed 1048576."
    assert read_overflow(gemini, "INVALID_ARGUMENT", 400) == Overflow(None, None, 1_048_576, "input")


@pytest.mark.parametrize(("message", "status"), WITHOUT_NUMBERS.values(), ids=WITHOUT_NUMBERS)
def test_words_without_numbers(message: str, status: int) -> None:
    assert read_overflow(message, "", status) == Overflow(None, None, None, "input")


@pytest.mark.parametrize(
    "code",
    ["context_length_exceeded", "400 exceed_context_size_error", "model_max_prompt_tokens_exceeded", "1261", "3051"],
)
def test_a_code_is_enough(code: str) -> None:
    assert read_overflow("too much", code, 400) == Overflow(None, None, None, "input")


@pytest.mark.parametrize(("message", "status"), OTHERS.values(), ids=OTHERS)
def test_what_is_no_overflow(message: str, status: int) -> None:
    assert read_overflow(message, "", status) is None


def test_every_row_of_the_table_has_a_sample() -> None:
    extra = [
        f"max_total_tokens ({N}) must be less than or equal to max_seq_len ({M})",
        "Range of input length should be [1, 129024]",
        "The maximum number of tokens allowed 1048576",
        "exceeds the context window of 8192 tokens",
        f"This model's maximum context length is {M} tokens. However, you requested {N} tokens.",
    ]
    samples = [*INPUT.values(), *TOTAL.values(), *extra]
    first = {next(i for i, (_, row) in enumerate(TABLE) if row.search(text)) for text in samples if "TPM" not in text}
    assert first == set(range(len(TABLE)))


LIMITS = {
    "openai": "max_tokens is too large: 128000. This model supports at most 16384 completion tokens, whereas you",
    "openai, integer": "Invalid 'max_tokens': integer above maximum value. Expected a value <= 16384, but got 128000",
    "groq": "`max_tokens` must be less than or equal to `16384`, the maximum value for `max_tokens` is less than the",
    "groq, completion": "`max_completion_tokens` must be less than or equal to `16384`, the maximum value for",
    "deepseek": "Invalid max_tokens value, the valid range of max_tokens is [1, 16384]",
    "dashscope": "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 16384]",
    "gemini": "Unable to submit request because it has a maxOutputTokens value of 128000 but the supported range is from"
    " 1 (inclusive) to 16385 (exclusive). Update the value and try again.",
    "bedrock": "The maximum tokens you requested exceeds the model limit of 16384. Try again with a maximum tokens value",
    "pydantic": "max_tokens: Input should be less than or equal to 16384",
    "cohere": "too many tokens: max tokens must be less than or equal to 16384",
    "anthropic": "max_tokens: 128000 > 16384, which is the maximum allowed number of output tokens for m",
}


@pytest.mark.parametrize("message", LIMITS.values(), ids=LIMITS)
def test_the_most_output_tokens(message: str) -> None:
    assert read_output_limit(message) == 16_384


def test_volcengine_names_the_field_beside_the_text() -> None:
    text = "integer above maximum value, expected a value <= 16384, but got 128000 instead"
    assert read_output_limit(text, "max_tokens") == 16_384
    assert read_output_limit(text, "n") is None


@pytest.mark.parametrize(
    "message",
    [
        *INPUT.values(),
        *TOTAL.values(),
        "Requests with max_tokens > 4096 must have stream=true",
        "max_total_tokens (9) must be less than or equal to max_seq_len (8)",
        "temperature: Input should be less than or equal to 2",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    ],
)
def test_what_is_no_output_limit(message: str) -> None:
    assert read_output_limit(message) is None


@given(st.text(), st.text(max_size=40), st.integers(-1, 1000))
def test_any_text_is_read(message: str, code: str, status: int) -> None:
    found = read_overflow(message, code, status)
    assert found is None or found.kind in {"input", "total"}
    limit = read_output_limit(message, code)
    assert limit is None or limit > 0


@given(st.sampled_from([*INPUT.values(), *TOTAL.values()]), st.text(max_size=60), st.text(max_size=60))
def test_a_wrapped_wording_never_breaks_the_reader(message: str, before: str, after: str) -> None:
    read_overflow(before + message + after, "", 400)
