"""Whether an upstream's error says that the prompt, or prompt and answer together, do not fit.

No two providers word it alike, few give both numbers, and many say nothing in the code. `TABLE` and `PHRASES` are the
wordings that are known (collected from the providers' open-source servers, their client SDKs' overflow lists and issue
threads; each has its sample in tests/dialects/errors/test_overflow.py). The names of the groups are the vocabulary:

    n  tokens of the prompt          o  tokens asked for the answer      t  both together
    m  tokens there is room for
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

Kind = Literal["input", "total"]


class Overflow(Struct, frozen=True):
    """What an upstream said about size, in tokens; None where it gave no number.

    `kind` is "input" when the prompt alone is too large, "total" when it would fit with a smaller `max_tokens`.
    """

    input_tokens: int | None
    output_tokens: int | None
    window: int | None
    kind: Kind


_NUMBER = r"\(?(?P<{}>[0-9][0-9,]{{0,13}})\)?"


def _pattern(text: str) -> re.Pattern[str]:
    """`#n` and the like stand for a number, which may have commas or stand in brackets; a space for any white space."""
    with_numbers = re.sub(r"#([notm])", lambda found: _NUMBER.format(found[1]), text)
    return re.compile(with_numbers.replace(" ", r"\s+"), re.IGNORECASE)


# First match wins, so the wordings that tell prompt and answer apart come before those that give a sum.
_WORDINGS: tuple[tuple[Kind, str], ...] = (
    # Anthropic, and gateways in front of it
    ("total", r"input length and `?max_tokens`? exceed context limit: #n \+ #o > #m"),
    ("input", r"prompt is too long: #n tokens > #m"),
    # vLLM, three generations
    (
        "total",
        r"context length is (?:only )?#m tokens\. However, you requested #o output tokens"
        r" and your prompt contains (?:at least )?#n input tokens",
    ),
    (
        "total",
        r"passed #n input tokens and requested #o output tokens\. However, the model's context length is only #m",
    ),
    ("total", r"is too large: #o\. This model's maximum context length is #m tokens and your request has #n input"),
    ("input", r"maximum context length is #m tokens\. However, your request has #n input tokens"),
    ("input", r"prompt \(length #n\) is longer than the maximum model length of #m"),
    # OpenAI and those who copy its sentence: DeepSeek, OpenRouter ("about", "of text input")
    (
        "total",
        r"maximum context length is #m tokens[.,] however,? you requested (?:about )?#t tokens"
        r" \([^)]{0,120}?#o (?:in|for) the (?:completion|output)",
    ),
    ("total", r"maximum context length is #m tokens[.,] however,? you requested (?:about )?#t tokens"),
    ("input", r"maximum context length is #m tokens\. However, your messages resulted in #n tokens"),
    ("input", r"configured limit of #m tokens\. Your messages resulted in #n tokens"),
    # SGLang, Together
    ("total", r"context length of #m tokens\. You requested a total of #t tokens: #n [^:]{0,60}? and #o tokens"),
    ("input", r"input \(#n tokens\) is longer than the model'?s context length \(#m tokens\)"),
    # llama.cpp, LM Studio
    ("input", r"request \(#n tokens\) exceeds the available context size \(#m tokens\)"),
    ("input", r"keep the first #n tokens when context the overflows\.[^0-9]{0,90}#m tokens"),
    ("input", r"n_keep: #n >= n_ctx: #m"),
    # One provider each: Gemini, xAI, Copilot, Moonshot, Mistral, Volcengine, Cerebras, SambaNova, DashScope
    ("input", r"input token count #n exceeds the maximum number of tokens allowed #m"),
    ("input", r"maximum prompt length is #m but the request contains #n tokens"),
    ("input", r"prompt token count of #n exceeds the limit of #m"),
    ("input", r"exceeded model token limit: #m \(re\s?quested: #n\)"),
    ("input", r"prompt contains #n tokens[^0-9]{0,40}(?:[0-9]+ draft tokens)?,? too large for model with #m"),
    ("input", r"input length #n exceeds the maximum length #m"),
    ("input", r"current length is #n while limit is #m"),
    ("input", r"prompt is #n tokens long.{0,200}?maximum supported sequence length is (?:just )?#m"),
    ("input", r"range of input length should be \[[0-9]+,\s?#m\]"),
    # SiliconFlow
    ("input", r"length of prompt_tokens #n must be less than max_seq_len #m"),
    ("total", r"max_total_tokens #t must be less than or equal to max_seq_len #m"),
    # Hugging Face TGI
    ("total", r"`?inputs`? tokens \+ `?max_new_tokens`? must be <= #m\. Given: #n `?inputs`? tokens and #o"),
    ("input", r"`?inputs`? must have less than #m tokens\. Given: #n"),
    # The families above when they do not give the prompt's number
    ("input", r"maximum number of tokens allowed #m"),
    ("input", r"(?:configured limit of|exceeds the context window of|maximum context length (?:is|of)) #m tokens"),
)

TABLE = tuple((kind, _pattern(text)) for kind, text in _WORDINGS)

PHRASES = re.compile(
    r"context[_ ]length[_ ]exceeded"
    r"|exceeds? the (?:model'?s )?(?:context (?:window|length)|available context size|maximum (?:context|model) length)"
    r"|context window exceed|ContextWindowExceeded|context exceeds your deployment"
    r"|maximum context (?:length|limit)|maximum prompt length|exceeded model token limit"
    r"|prompt (?:is )?too long|prompt exceeds max length|prompt is longer than the context length"
    r"|input is too long for requested model|input token length too long|input tokens exceed the configured limit"
    r"|longer than the (?:maximum model|(?:model'?s )?context) length|greater than the context length"
    r"|exceeds the maximum number of tokens allowed|too many tokens in (?:the )?prompt"
    r"|tokens in request more than max tokens allowed|exceed max message tokens|but model only supports up to"
    r"|reduce the length of the (?:messages|input|prompt)",
    re.IGNORECASE,
)

CODES = frozenset(
    {
        "context_length_exceeded",
        "context_window_exceeded",
        "contextwindowexceedederror",
        "exceed_context_size_error",
        "model_max_prompt_tokens_exceeded",
        "model_context_window_exceeded",
        "1261",  # Z.ai
        "3051",  # Mistral
    }
)

_RATE = _pattern(r"tokens per (?:minute|min|day).{0,40}?limit #m,(?: used [0-9,]{1,15},)? requested #n")
_OTHER = re.compile(
    r"rate.?limit|too many requests|throttl|tokens per (?:min|day)|\bTP[MD]\b|(?:string|array) too long"
    r"|expected maxlength|policy_blocked|dlp_request_denied|data_?inspection",
    re.IGNORECASE,
)
_NOT_SIZE = frozenset({401, 402, 403, 404})
_READ = 16_384
"""Characters of a message that are searched: a bound on time, far beyond any known wording."""


def read_overflow(message: str, code: str, status: int) -> Overflow | None:
    """The overflow that an error tells of, or None.

    `message` is the upstream's text, `code` its code and type words separated by spaces, `status` the HTTP status (200
    for an error inside an answer). A refusal of the key, the balance or the model is never read as an overflow.
    """
    if status in _NOT_SIZE:
        return None
    text = message[:_READ]
    if over_rate := _over_rate(text):
        return over_rate
    if status == 429 or _OTHER.search(text):
        return None
    for kind, pattern in TABLE:
        if found := pattern.search(text):
            return _overflow(kind, _numbers(found))
    if PHRASES.search(text) or not CODES.isdisjoint(code.lower().split()):
        return Overflow(None, None, None, "input")
    return None


def _over_rate(text: str) -> Overflow | None:
    """A request larger than the whole minute's allowance (Groq, OpenAI): waiting never helps, a smaller prompt does."""
    if not (found := _RATE.search(text)):
        return None
    numbers = _numbers(found)
    return _overflow("input", numbers) if numbers["n"] > numbers["m"] else None


def _numbers(found: re.Match[str]) -> dict[str, int]:
    return {name: int(digits.replace(",", "")) for name, digits in found.groupdict().items() if digits}


def _overflow(kind: Kind, numbers: dict[str, int]) -> Overflow:
    prompt, answer, window = numbers.get("n"), numbers.get("o"), numbers.get("m") or None
    # The sum less the answer counts tools and functions too, which some list beside the messages.
    if "t" in numbers and answer is not None and numbers["t"] > answer:
        prompt = numbers["t"] - answer
    if prompt is not None and window is not None and prompt >= window:
        kind = "input"
    return Overflow(prompt, answer, window, kind)


# At most so many tokens of answer: Anthropic, OpenAI, Groq, DeepSeek, DashScope, Volcengine, Gemini, Bedrock.
_OUTPUT_LIMITS = tuple(
    _pattern(text)
    for text in (
        r"max_(?:completion_|output_)?tokens: [0-9]+ > #m, which is the maximum allowed",
        r"max_(?:completion_)?tokens is too large: [0-9]+\. This model supports at most #m",
        r"max_(?:completion_|output_)?tokens`?\"?'? (?:must|should) be (?:less than or equal to|at most|<=) `?#m",
        r"range of max_(?:completion_)?tokens (?:is|should be) \[[0-9]+,\s?#m\]",
        r"maximum tokens you requested exceeds the model limit of #m",
        r"max tokens must be less than or equal to #m",
        r"max_?(?:completion_|output_)?tokens[^.]{0,60}? (?:to be )?less than or equal to #m",
    )
)
_OUTPUT_BOUND = _pattern(r"(?:expected a value <=|less than or equal to|at most) `?#m")
_OUTPUT_BELOW = _pattern(
    r"max_?(?:output_?)?tokens.{0,60}? supported range is from [0-9]+ \(inclusive\) to #m \(exclusive\)"
)
_OUTPUT_BLAMED = _pattern(r"invalid '?`?max_(?:completion_)?tokens")
_OUTPUT_FIELDS = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})


def read_output_limit(message: str, param: str = "") -> int | None:
    """The most output tokens the model gives, when the error says that more were asked for; None otherwise.

    `param` is the field the error blames, if it names one: some give the bound without naming it in the text.
    """
    text = message[:_READ]
    for pattern in _OUTPUT_LIMITS:
        if found := pattern.search(text):
            return _numbers(found)["m"] or None
    if found := _OUTPUT_BELOW.search(text):
        return _numbers(found)["m"] - 1 or None
    named = param.removeprefix("body.") in _OUTPUT_FIELDS or _OUTPUT_BLAMED.search(text)
    if named and (found := _OUTPUT_BOUND.search(text)):
        return _numbers(found)["m"] or None
    return None
