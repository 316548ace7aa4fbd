"""What a refusal teaches about an upstream: one change of its profile, so that the same request, sent again, is taken.

    status, message, param, fields sent -> (changed profile, reason for the report) | None

Only what depends on the model and not on this prompt is learned: a field it does not know, a limit it states, roles and
images it does not take, an API it is not asked in. `shell.routes` asks once per request and keeps the difference
(`policy.knowledge`). A reason is shown and kept, so it holds Latimer's own words only.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from latimer.dialects.errors.overflow import read_output_limit
from latimer.policy.dialect_lessons import Taught, other_dialect
from latimer.policy.native_lessons import native_lesson
from latimer.profile import Dialect, Profile, SchemaDialect

STATUSES = frozenset({400, 404, 405, 415, 422, 500, 501})
"""Refusals of a request's shape: 500 is llama.cpp's for images and templates, 404 OpenRouter's for images."""

_READ = 4096


def lesson(status: int, message: str, param: str, sent: frozenset[str], profile: Profile) -> tuple[Profile, str] | None:
    """The profile with what this error teaches, and why, or None when it teaches nothing new.

    `message` and `param` are the upstream's own (`read_body` in `dialects.errors.error_body`), `sent` the names of the
    request's top-level fields.
    """
    if status not in STATUSES:
        return None
    text = message[:_READ]
    taught = other_dialect(status, text, profile)
    if taught is not None:
        return taught if taught[0] != profile else None
    for teach in _TEACHERS[profile.endpoint.dialect]:
        taught = teach(text, param, sent, profile)
        if taught is not None:
            return taught if taught[0] != profile else None
    return None


def _output_limit(text: str, param: str, sent: frozenset[str], profile: Profile) -> Taught:
    limit = read_output_limit(text, param) if sent & _LIMITS else None
    known = profile.request.max_output
    if limit is None or 0 < known <= limit:
        return None
    return _request(profile, max_output=limit), f"the model gives at most {limit} output tokens"


_LIMITS = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})
# OpenAI; Groq
_TOOL_LIMIT = re.compile(
    r"'?tools'?\W{1,3}(?:array too long.{0,40}maximum length (\d+)|maximum number of items is (\d+))", re.IGNORECASE
)


def _tool_limit(text: str, param: str, sent: frozenset[str], profile: Profile) -> Taught:
    del param, sent
    found = _TOOL_LIMIT.search(text)
    limit = int(found[1] or found[2]) if found else 0
    known = profile.tools.max_count
    if not limit or 0 < known <= limit:
        return None
    return _tools(profile, max_count=limit), f"the model takes at most {limit} tools"


# --- whole sentences ---


class Wording(Struct, frozen=True):
    """A sentence that says what an upstream does not take, and the profile that spares it that."""

    pattern: re.Pattern[str]
    cure: Callable[[Profile], Profile]
    reason: str


def _wording(text: str, param: str, sent: frozenset[str], profile: Profile) -> Taught:
    del param, sent
    for known in WORDINGS:
        if known.pattern.search(text):
            return known.cure(profile), known.reason
    return None


def _request(profile: Profile, **changes: object) -> Profile:
    return replace(profile, request=replace(profile.request, **changes))


def _tools(profile: Profile, **changes: object) -> Profile:
    return replace(profile, tools=replace(profile.tools, **changes))


def _reasoning(profile: Profile, **changes: object) -> Profile:
    return replace(profile, reasoning=replace(profile.reasoning, **changes))


def _without(name: str) -> Callable[[Profile], Profile]:
    return lambda profile: _request(profile, drop=profile.request.drop | {name})


def _uncontrolled(profile: Profile) -> Profile:
    return _reasoning(profile, control="none")


def _one_system(profile: Profile) -> Profile:
    return replace(profile, messages=replace(profile.messages, mid_system="tagged", merge_users=True))


def _no_developer(profile: Profile) -> Profile:
    return replace(profile, messages=replace(profile.messages, system_role="system"))


def _no_images(profile: Profile) -> Profile:
    return replace(profile, media=replace(profile.media, images=False))


def _schema(dialect: SchemaDialect) -> Callable[[Profile], Profile]:
    return lambda profile: _tools(profile, schema=dialect)


def _no_files(profile: Profile) -> Profile:
    return replace(profile, media=replace(profile.media, pdf="text"))


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE | re.DOTALL)


_NOT_TAKEN = r"(?:not|n't|never|un)[ -]?(?:currently |yet )?(?:support|allow|accept|permit|enabled)\w*"

WORDINGS: tuple[Wording, ...] = (
    Wording(
        _pattern(r"moonshot flavored json schema|parameters\.type is required and must be"),
        _schema("mfjs"),
        "the upstream takes Moonshot's JSON Schema",
    ),
    Wording(
        # llama.cpp and those that build on it
        _pattern(r"failed to parse grammar|JSON schema conversion failed"),
        _schema("grammar"),
        "the upstream makes a grammar of the tools",
    ),
    Wording(
        _pattern(r"function_?declarations\[\d+\]\.parameters|only allowed for STRING type"),
        _schema("gemini"),
        "the upstream takes Gemini's JSON Schema",
    ),
    Wording(
        _pattern(
            r"not have 'oneOf'/'anyOf'/'allOf'|does not support oneOf, allOf, or anyOf at the top level"
            r"|array schema missing items|lookaround is not supported"
        ),
        _schema("openai"),
        "the upstream takes OpenAI's JSON Schema",
    ),
    Wording(
        # Responses at Azure and for models without reasoning: github.com/pydantic/pydantic-ai/issues/2915
        _pattern(r"encrypted content is not supported"),
        _without("include"),
        "the model gives no encrypted reasoning",
    ),
    Wording(
        # Responses, also where an organization is not verified: github.com/openai/openai-cookbook/issues/2271
        _pattern(
            rf"reasoning[._]summary\W{{1,3}}(?: \w+)? ?(?:is )?{_NOT_TAKEN}|verified to generate reasoning summaries"
            r"|unsupported (?:parameter|value)\W{1,4}reasoning\.summary"
        ),
        lambda profile: _reasoning(profile, summaries=False),
        "the model gives no summaries of its reasoning",
    ),
    Wording(
        # Ollama
        _pattern(r"does not support thinking\b"),
        _uncontrolled,
        "the model has no thinking to control",
    ),
    Wording(
        # Bedrock and those in front of it
        _pattern(r"temperature\W+and\W+top_p\W+cannot both be specified"),
        _without("top_p"),
        "the model takes temperature or top_p, not both",
    ),
    Wording(
        _pattern(r"unknown variant `developer`|(?:unexpected|unsupported|invalid)[^.]{0,40}role\W{1,4}developer\b"),
        _no_developer,
        "the upstream has no developer role",
    ),
    Wording(
        # Chat templates in vLLM and llama.cpp (Qwen, Mistral, Gemma), MiniMax, Mistral 3230
        _pattern(
            r"system messages? (?:must|should|can|may|is|are)\b[^.]{0,40}\b(?:beginning|first|start|leading)"
            r"|(?:conversation )?roles must alternate"
            r"|(?:unexpected|invalid)(?: message)? role\W{1,4}system\b"
        ),
        _one_system,
        "the upstream takes a system message only first, and roles in turn",
    ),
    Wording(
        # OpenAI and Qwen; vLLM; serde
        _pattern(
            r"invalid value\W{1,4}file\b\W{1,4}supported values|(?:content|part|input) type\W{1,4}file\b"
            r"|unknown variant `file`"
            rf"|\b(?:file|pdf)(?: inputs?| content| parts?)(?: is| are)? {_NOT_TAKEN}"
            rf"|{_NOT_TAKEN} (?:file|pdf)(?: inputs?| content| parts?|s\b|$|[.,])"
        ),
        _no_files,
        "the model takes no files",
    ),
    Wording(
        _pattern(
            r"unknown variant `image_url`|at most 0 images?\b|not a (?:multimodal|vision) model|only supports? text\b"
            r"|(?:image|vision|multimodal)(?: ?_url\W?)?(?: inputs?| content| understanding| parts?)?"
            rf"(?: is| are|s)? {_NOT_TAKEN}"
            rf"|{_NOT_TAKEN} (?:the )?(?:use of )?(?:image|vision|multimodal)(?:s\b|[ _-]?(?:input|url|part)|$|[.,])"
            r"|image_url\W{1,3} ?is only supported by|content type\W{1,4}image_url\W{1,3} ?is not supported"
            r"|no endpoints found that support image"
        ),
        _no_images,
        "the model takes no images",
    ),
)


# --- effort words ---

_SCALE = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_LISTED = _pattern(
    r"(?:(?:supported|valid|allowed|accepted) (?:values|options)(?: are| is)?|(?:expected|must be|should be) one of"
    r"|input should be)\b(.{1,160})"
)


def _effort_values(text: str, param: str, sent: frozenset[str], profile: Profile) -> Taught:
    """A list of the effort words that are taken: every other becomes the next lower one, or the lowest."""
    if not sent & {"reasoning_effort", "reasoning", "output_config"} or not re.search(
        r"reasoning|effort", f"{param} {text}"
    ):
        return None
    found = _LISTED.search(text)
    taken = [word for word in _SCALE if found and re.search(rf"\b{word}\b", found[1])]
    if not taken:
        return None
    efforts = {word: _nearest(value, taken) for word, value in profile.reasoning.efforts.items()}
    return _reasoning(profile, efforts=efforts), f"the model takes these efforts: {', '.join(taken)}"


def _nearest(value: str, taken: list[str]) -> str:
    if value in taken or value not in _SCALE:
        return value
    # Thinking off is no lesser degree of thinking, but another answer.
    thinking = [word for word in taken if word != "none"] or taken
    lower = [word for word in thinking if _SCALE.index(word) < _SCALE.index(value)]
    return lower[-1] if lower else thinking[0]


# --- one field ---


def _max_tokens(profile: Profile) -> Profile:
    return _request(profile, max_tokens_field="max_completion_tokens")


def _max_completion_tokens(profile: Profile) -> Profile:
    return _request(profile, max_tokens_field="max_tokens")


CURES: dict[str, Callable[[Profile], Profile]] = {
    "chat_template_kwargs": _uncontrolled,
    "enable_thinking": _uncontrolled,
    "include": _without("include"),
    "max_completion_tokens": _max_completion_tokens,
    "max_output_tokens": _without("max_output_tokens"),
    "max_tokens": _max_tokens,
    "parallel_tool_calls": lambda profile: _tools(profile, parallel=False),
    "prompt_cache_key": lambda profile: _request(profile, session_key=""),
    "reasoning": _uncontrolled,
    "reasoning_effort": _uncontrolled,
    "response_format": lambda profile: _request(profile, json_schema="prompt"),
    "safety_identifier": lambda profile: _request(profile, user_id="drop"),
    "service_tier": lambda profile: _request(profile, service_tier=False),
    "store": _without("store"),
    "stream_options": lambda profile: _request(profile, usage="unasked", obfuscation="unasked"),
    "temperature": _without("temperature"),
    "text": lambda profile: _request(profile, json_schema="prompt"),
    "thinking": _uncontrolled,
    "tool_choice": _without("tool_choice"),
    "top_k": lambda profile: _request(profile, top_k=False),
    "top_p": _without("top_p"),
    "truncation": _without("truncation"),
    "user": lambda profile: _request(profile, user_id="drop"),
}
"""A top-level field as it stands on the wire -> the profile that no longer sends it."""

_ALIASES = {
    "json_schema": "response_format",
    "structured output": "response_format",
    "reasoningEffort": "reasoning_effort",
}
_UNKNOWN = _pattern(r"unknown|unrecogni[sz]ed|extra (?:inputs|fields|forbidden)|unexpected|cannot find field|no such")
_REFUSED = _pattern(rf"{_NOT_TAKEN}|{_UNKNOWN.pattern}|unavailable|not permitted")

# Sentences that blame a field, which is the group. Only what stands outside a path is a field of the top level.
_NAME = r"(?<![\w.\]])[`'\"]?(?:body\.)?(\w+)"
_BLAMES = tuple(
    _pattern(text)
    for text in (
        # Unsupported parameter: 'x' / Unrecognized request argument supplied: x / Unknown name "x" / unknown field `x`
        r"(?:unsupported|unknown|unrecogni[sz]ed|unexpected)(?: request| keyword)?"
        r" (?:parameter|argument|field|property|key|name|option|value)(?:s|\(s\))?(?: supplied)?[\s:`'\"]{1,4}(\w+)",
        # x: Extra inputs are not permitted / Extra inputs are not permitted, field: 'x'
        rf"{_NAME}[`'\"]?: extra (?:inputs|fields)",
        r"extra (?:inputs|fields)[^:]{0,40}field: [`'\"]?(\w+)",
        # additional properties are not allowed ('x' was unexpected)
        r"\([`'\"]?(\w+)[`'\"]? (?:was|were) unexpected",
        # `x` is not supported with this model / property 'x' is unsupported / This x type is unavailable now
        rf"{_NAME}(?:\.\w+)?[`'\"]?(?: parameter| field| argument| option| type)? (?:is|are)"
        rf" (?:{_NOT_TAKEN}|un(?:known|available|recogni[sz]ed))",
        # does not support parameter x / does not support the x parameter / does not accept 'x'
        r"(?:does not|doesn't|do not) (?:support|accept|allow|recogni[sz]e)"
        r"(?: the| this| setting)?(?: parameters?| field| argument| use of)?[\s:`'\"]{1,4}(\w+)",
        # Argument not supported on this model: x
        r"(?:argument|parameter) not supported[^:]{0,40}: [`'\"]?(\w+)",
        # invalid temperature: only 1 is allowed for this model
        r"invalid (temperature|top_p): only [0-9.]+ is allowed",
        # tool_choice 'required' is incompatible with thinking / Invalid tool_choice type: 'object'
        r"\b(tool_choice)\b[^.]{0,80}(?:incompatible|not support|unsupported|not allowed)",
        r"invalid (tool_choice) type",
        r"\b(response_format)(?:\.type)?\W{1,3} ?must be",
        r"\b(structured output)s? (?:is|are) not",
    )
)


def _field(text: str, param: str, sent: frozenset[str], profile: Profile) -> Taught:
    name = _blamed(text, param, sent)
    if name is None:
        return None
    unknown = bool(_UNKNOWN.search(text))
    rules = profile.request
    if name == "tool_choice" and not unknown and profile.tools.choices != {"auto"}:
        return _tools(profile, choices=frozenset({"auto"})), "the upstream takes tool_choice auto only"
    if name in ("response_format", "text") and not unknown and rules.json_schema == "json_schema":
        return _request(profile, json_schema="json_object"), "the upstream takes no response_format with a schema"
    return CURES[name](profile), f"the upstream takes no {'text.format' if name == 'text' else name}"


def _blamed(text: str, param: str, sent: frozenset[str]) -> str | None:
    """The field we sent and can do without that the error is about."""
    top = re.split(r"[.\[]", param.removeprefix("body."))[0]
    if top in {"messages", "tools"}:
        return None
    if top in CURES and top in sent and _REFUSED.search(text):
        return top
    names = (found[1] for pattern in _BLAMES for found in pattern.finditer(text))
    known = (_ALIASES.get(name, name.lower()) for name in names)
    return next((name for name in known if name in CURES and name in sent), None)


Teacher = Callable[[str, str, frozenset[str], Profile], Taught]
_OPENAI: tuple[Teacher, ...] = (_output_limit, _tool_limit, _wording, _effort_values, _field)
_TEACHERS: dict[Dialect, tuple[Teacher, ...]] = {
    "chat": _OPENAI,
    "responses": _OPENAI,
    "messages": (_output_limit, _tool_limit, native_lesson, _wording, _effort_values),
}
