"""What a refusal teaches about an upstream's APIs: that a model is asked in another one.

Each sentence was seen in the thread that stands beside it.
"""

from __future__ import annotations

import re

from msgspec.structs import replace

from latimer.profile import Dialect, EndpointRules, Profile

Taught = tuple[Profile, str] | None

_NAMES: dict[Dialect, str] = {"chat": "Chat Completions", "responses": "Responses", "messages": "Messages"}


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE | re.DOTALL)


_NO_REASONING_IN_CHAT = _pattern(r"function tools with reasoning_effort are not supported")
"""OpenAI, gpt-5.4 and later, github.com/openai/openai-openapi/issues/541"""

_NOT_IN_CHAT = _pattern(
    # OpenAI, 404: github.com/openai/codex/issues/1306
    r"only supported in v1/responses"
    # OpenAI, 404: github.com/tingly-dev/tingly-box/issues/233
    r"|not a chat model and thus not supported in the v1/chat/completions"
    # Copilot: github.com/caozhiyuan/copilot-api/issues/113
    r"|not accessible via the /chat/completions endpoint"
    # sub2api: github.com/Wei-Shaw/sub2api/issues/885
    r"|/chat/completions is not supported\. please use /v1/responses"
)

_NOT_IN: dict[Dialect, re.Pattern[str]] = {
    # Copilot: github.com/decolua/9router/issues/1062
    "responses": _pattern(r"does not support (?:the )?responses api|not accessible via the /responses endpoint"),
    "messages": _pattern(r"does not support (?:the )?messages api|not accessible via the (?:/v1)?/messages endpoint"),
}

_NO_ROUTE = _pattern(
    # new-api: github.com/QuantumNous/new-api/issues/885; OpenAI: github.com/lblblong/mossgpt-utools/issues/50
    r"invalid url \(post [^)]{1,200}\)"
    # OpenAI and Groq: github.com/artificial-julien/docker-nginx-openai-api-cache/issues/2
    r"|unknown request url"
    # Kong; Express; Laravel and Hono
    r"|no route matched|cannot post /|route /?\S{1,200} not found"
    # the whole of what Go's net/http, FastAPI, llama.cpp and web servers say
    r"|^\W*(?:error\W+)?(?:404\W+)?(?:page |file |path |url |endpoint |resource )?not found\W*(?:nginx\S*)?\W*$"
    r"|^\W*(?:405\W+)?method not allowed\W*$|^\W*(?:501\W+)?not implemented\W*$"
)
_NO_ROUTE_STATUSES = frozenset({404, 405, 501})


def other_dialect(status: int, text: str, profile: Profile) -> Taught:
    """The profile that asks the model in another API, if the refusal says that this one does not have it."""
    asked = profile.endpoint.dialect
    if asked == "chat":
        return _from_chat(text, profile)
    if _NOT_IN[asked].search(text) or (status in _NO_ROUTE_STATUSES and _NO_ROUTE.search(text)):
        return _moved(profile, "chat"), f"the upstream has no {_NAMES[asked]} API for the model"
    return None


def _from_chat(text: str, profile: Profile) -> Taught:
    has_responses = "responses" not in profile.endpoint.missing
    if _NO_REASONING_IN_CHAT.search(text):
        if has_responses:
            moved = replace(profile, endpoint=replace(profile.endpoint, dialect="responses"))
            return moved, "the model takes tools and reasoning together in the Responses API only"
        silent = dict.fromkeys(profile.reasoning.efforts, "none")
        reasoning = replace(profile.reasoning, efforts=silent)
        return replace(profile, reasoning=reasoning), "the model takes tools only without reasoning"
    if _NOT_IN_CHAT.search(text) and has_responses:
        return _moved(profile, "responses"), "the model is asked in the Responses API only"
    return None


def _moved(profile: Profile, dialect: Dialect) -> Profile:
    endpoint: EndpointRules = profile.endpoint
    missing = endpoint.missing | {endpoint.dialect}
    return replace(profile, endpoint=replace(endpoint, dialect=dialect, missing=missing))
