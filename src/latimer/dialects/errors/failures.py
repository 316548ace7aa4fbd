"""An upstream's refusal, told to the client so that it does the right thing.

    status, headers, body -> ErrorBody -> overflow? too many output tokens? -> cause -> Failure

`docs/errors.md` is the table of what comes out. What Claude Code does with each status was measured with the real
client (2.1.330 and 2.1.197); comments give the finding where it decided something.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from latimer.errors import ErrorType, Failure

from .causes import Cause, cause_of
from .error_body import ErrorBody, capped, lower_keys, read_error, redacted, shown
from .overflow import Overflow, read_output_limit, read_overflow
from .waits import wait_asked

MESSAGE_LIMIT = 2048
"""Bytes of a message that a client is sent."""
CLIENT_WAIT = 60.0
"""Seconds: the longest `retry-after` a client is left to sit through. Above it Claude Code gives up, SDKs sleep."""


class Asked(Struct, frozen=True):
    """What was asked of whom: all that an error message may say beyond the upstream's own words.

    `route` is "provider/model". `key_source` is where the key comes from ("env:MINIMAX_API_KEY"), "" without one, and
    never the key. `model` is the client's own name for it. Counts are tokens; a `context_window` of 0 is unknown.
    `secrets` are what no message may hold, even where the upstream says it.
    """

    provider: str
    route: str
    key_source: str
    model: str
    input_estimate: int
    context_window: int
    max_tokens: int | None
    secrets: tuple[str, ...] = ()


class _Answer(Struct, frozen=True):
    type: ErrorType
    should_retry: bool | None = None
    text: str = "{said}"
    cause: Literal["", "refusal"] = ""


_ADDRESS = "base_url (--upstream) is everything before /chat/completions, usually ending in /v1"

# `should_retry` is False where a repetition cannot help: without it Claude Code repeats a 401, a 409 and every 5xx for
# minutes before it shows the message.
#
# A model that the provider does not have is a 409. Claude Code answers a 404 with "There's an issue with the selected
# model" and never shows the text that says which provider and route are meant. A 400 makes it send the request five
# more times in other shapes, a 403 puts "Failed to authenticate" before the text and a 500 "usually temporary" behind
# it. A 409 that must not be repeated is shown at once, as it is.
_ANSWERS: dict[Cause, _Answer] = {
    "billing": _Answer(
        "billing_error",
        False,
        "{said} Check the balance and the plan of the account at {provider}.",
    ),
    "key": _Answer("authentication_error", False, "{provider} refused {key}: {said} {check}"),
    "filtered": _Answer(
        "invalid_request_error", None, "the content filter of {provider} refused this request: {said}", "refusal"
    ),
    "model": _Answer(
        "conflict_error",
        False,
        "{provider} does not offer the model {model}: {said} The client asked for {asked}. Change the model with"
        " --model, or under [routes] in the config file.",
    ),
    "access": _Answer("permission_error", False),
    "path": _Answer("api_error", False, "{said} Check the address of {provider}: " + _ADDRESS + "."),
    "size": _Answer("request_too_large", False, "the request is larger than {provider} takes: {said}"),
    "rate": _Answer("rate_limit_error"),
    "overloaded": _Answer("overloaded_error"),
    "timeout": _Answer("timeout_error"),
    "conflict": _Answer("conflict_error"),
    "server": _Answer("api_error"),
    "invalid": _Answer("invalid_request_error"),
}
_PASSES: frozenset[Cause] = frozenset({"rate", "overloaded", "timeout", "server"})


def decode_body_error(body: Any, asked: Asked) -> Failure:
    """The failure in decoded JSON that came with status 200: a whole body, or a chunk in the middle of a stream."""
    return failure_of(200, {}, read_error(body), asked, 0.0)


def failure_of(status: int, headers: Mapping[str, str], error: ErrorBody, asked: Asked, now: float) -> Failure:
    """The failure that an HTTP answer stands for; `now` is seconds since the epoch, for waits as dates.

    Never raises. The message names the route and is at most 2 kB without anything that looks like a key, except where
    Claude Code knows an exact sentence (`prompt is too long: …`): then it is that sentence alone.
    """
    if status < 300:
        status = error.status
    if exact := _overflow(status, error, asked) or _output_limit(status, error, asked):
        return Failure("invalid_request_error", capped(exact, MESSAGE_LIMIT))
    cause = cause_of(status, error)
    answer = _ANSWERS[cause]
    key, check = _key(asked)
    text = answer.text.format(
        said=_said(status, error),
        provider=asked.provider,
        model=asked.route.removeprefix(f"{asked.provider}/"),
        asked=asked.model,
        key=key,
        check=check,
    )
    if cause not in _PASSES:
        return Failure(answer.type, _named(asked, text), should_retry=answer.should_retry, cause=answer.cause)
    known = {**lower_keys(error.headers), **lower_keys(headers)}
    wait = wait_asked(known, error.retry, error.message, now)
    if wait is None or wait <= CLIENT_WAIT:
        return Failure(answer.type, _named(asked, text), retry_after=wait)
    text = f"{text} It can be used again in {_span(wait)}."
    return Failure(answer.type, _named(asked, text), retry_after=wait, should_retry=False)


def _overflow(status: int, error: ErrorBody, asked: Asked) -> str:
    """The sentence from which Claude Code learns how much to cut, "" when size is not the matter."""
    over = read_overflow(error.message, " ".join(error.words), status)
    if over is None and not _tacit_overflow(status, error, asked):
        return ""
    over = over or Overflow(None, None, None, "input")
    prompt = over.input_tokens or error.input_tokens or max(0, asked.input_estimate)
    window = over.window or error.window or max(0, asked.context_window)
    if over.kind == "total" and 0 < prompt < window:
        answer = max(over.output_tokens or asked.max_tokens or 0, window - prompt + 1)
        return (
            f"input length and `max_tokens` exceed context limit: {prompt} + {answer} > {window},"
            " decrease input length or `max_tokens` and try again"
        )
    prompt, window = _over_by(prompt, window)
    return f"prompt is too long: {prompt} tokens > {window} maximum"


def _tacit_overflow(status: int, error: ErrorBody, asked: Asked) -> bool:
    """Whether a prompt that fills the window was refused without a reason: Cerebras by no body, Copilot by a 413."""
    silent = status == 413 or (status == 400 and not error.message)
    return silent and 0 < asked.context_window * 9 <= asked.input_estimate * 10


def _over_by(prompt: int, window: int) -> tuple[int, int]:
    """Both numbers, the prompt's above the window's. The client cuts by the gap: a made-up one is a twentieth."""
    if window <= 0:
        prompt = max(prompt, 2)
        return prompt, prompt - prompt // 20 - 1
    return (prompt, window) if prompt > window else (window + window // 20 + 1, window)


def _output_limit(status: int, error: ErrorBody, asked: Asked) -> str:
    """The sentence from which Claude Code learns the most output tokens, "" when they are not the matter."""
    if status not in {0, 400, 422} or not asked.max_tokens:
        return ""
    limit = read_output_limit(error.message, error.param)
    if limit is None or asked.max_tokens <= limit:
        return ""
    numbers = f"max_tokens: {asked.max_tokens} > {limit}"
    return f"{numbers}, which is the maximum allowed number of output tokens for {asked.model}"


def _named(asked: Asked, text: str) -> str:
    for secret in asked.secrets:
        text = text.replace(secret, "[key]")
    return capped(f"{asked.route}: {text}", MESSAGE_LIMIT)


def _said(status: int, error: ErrorBody) -> str:
    """The upstream's own words as a sentence, or what stands in for them."""
    text = shown(error.message)
    if not text:
        return f"status {status} without a message." if status else "an error without a message."
    text = text if text[-1] in ".!?…。" else f"{text}."
    return f"status {status}, a web page: {text}" if error.html else text


def _key(asked: Asked) -> tuple[str, str]:
    """Which key was refused and what to check, told from its source alone."""
    scheme, _, name = asked.key_source.partition(":")
    # A key pasted where its variable's name belongs is a likely mistake.
    name = redacted(name).replace("|", " or ")
    places = {
        "env": (f"the key from the environment variable {name}", f"Check the value of {name}."),
        "keyring": (f"the key from the keyring entry {name}", "Check the entry."),
        "file": (f"the key from the file {name}", "Check the file."),
        "command": ("the key that the command of api_key printed", "Check what the command prints."),
        "": (
            "a request without a key",
            'Set one with --api-key-env NAME, or with api_key = "env:NAME"'
            f" under [providers.{asked.provider}] in the config file.",
        ),
    }
    return places.get(scheme, ("the configured key", "Check api_key in the config file."))


def _span(seconds: float) -> str:
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    days, hours = divmod(hours, 24)
    if days:
        minutes = 0
    return " ".join(f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if count)


ConnectionKind = Literal["refused", "reset", "dns", "tls", "timeout", "proxy", "other"]

_CONNECTION: dict[ConnectionKind, _Answer] = {
    "refused": _Answer(
        "api_error",
        None,
        "nothing accepts connections there ({said}). Check that the server is running and that base_url (--upstream)"
        " names its host and port.",
    ),
    "reset": _Answer(
        "api_error",
        None,
        "the connection was closed before the answer was complete ({said}). Check the log of the server; one that ran"
        " out of memory ends like this.",
    ),
    "dns": _Answer(
        "api_error",
        None,
        "the host's name cannot be resolved ({said}). Check the spelling of base_url (--upstream), and the network.",
    ),
    "tls": _Answer(
        "api_error",
        False,
        "no secure connection ({said}). Where a company's proxy or your own server signs certificates, set"
        " SSL_CERT_FILE, or the provider's ca_file, to a PEM file with its root certificate; a server without TLS"
        " needs http:// in base_url.",
    ),
    "timeout": _Answer(
        "timeout_error",
        None,
        "no answer in time ({said}). Check that the host can be reached and has loaded the model.",
    ),
    "proxy": _Answer(
        "api_error",
        None,
        "no way through the proxy ({said}). Check the proxy's URL and password (HTTPS_PROXY, ALL_PROXY, or the"
        " provider's `proxy`); hosts that need none belong into NO_PROXY.",
    ),
    "other": _Answer("api_error", None, "no answer ({said}). Check base_url (--upstream), and the network."),
}


def connection_failure(kind: ConnectionKind, asked: Asked, detail: str) -> Failure:
    """The failure of a request without an HTTP answer. `detail` is where and what: "127.0.0.1:8080", an error."""
    answer = _CONNECTION[kind]
    text = answer.text.format(said=shown(detail, 400) or asked.provider)
    return Failure(answer.type, _named(asked, text), should_retry=answer.should_retry)
