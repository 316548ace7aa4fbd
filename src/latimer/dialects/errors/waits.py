"""How long an upstream asks to wait, wherever it says so: headers, Google's RetryInfo, or a sentence in the message."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ms|d|h|m|s)(?![a-z])", re.IGNORECASE)
_SENTENCE = re.compile(
    r"(?:try again|retry|retry again|available again|resets?)\s+(?:in|after)\s+"
    r"((?:[0-9]{1,9}(?:\.[0-9]{1,9})?\s*"
    r"(?:milliseconds?|ms|days?|d|hours?|h|minutes?|mins?|m|seconds?|secs?|s)(?![a-z])[ ,]*(?:and )?)+)",
    re.IGNORECASE,
)
_WORD = re.compile(r"(milliseconds?|days?|hours?|minutes?|mins?|seconds?|secs?)", re.IGNORECASE)
_LONGEST = 366 * 86_400.0
"""A longer wait is a number that was misread."""
_ALLOWANCES = (
    *((f"x-ratelimit-remaining-{what}", f"x-ratelimit-reset-{what}") for what in ("requests", "tokens")),
    *(
        (f"anthropic-ratelimit-{what}-remaining", f"anthropic-ratelimit-{what}-reset")
        for what in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
)
"""Headers that say how much of an allowance is left, and those that say when it is whole again."""
_EPOCH = 1e9
_EPOCH_MS = 1e12


def wait_asked(headers: Mapping[str, str], retry_info: str, message: str, now: float) -> float | None:
    """Seconds to wait, or None when nobody said. `headers` have lower-case names; `now` is seconds since the epoch.

    The most exact word comes first: `retry-after-ms`, `retry-after` (seconds or a date), RetryInfo, the message
    ("Please try again in 5.289s"), then the `x-ratelimit-reset` of what has run out.
    """
    for value in (
        _scaled(headers.get("retry-after-ms"), 0.001),
        _moment(headers.get("retry-after"), now),
        duration(retry_info),
        _sentence(message),
        allowance_wait(headers, now),
        _reset(headers, now),
    ):
        if value is not None and math.isfinite(value) and value <= _LONGEST:
            return max(0.0, value)
    return None


def allowance_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until what an answer's headers say is used up can be used again; None when nothing is.

    `x-ratelimit-remaining-requests` and `-tokens` are OpenAI's and many others', `anthropic-ratelimit-…-remaining`
    Anthropic's, whose resets are RFC 3339 times.
    """
    waits = [_moment(headers.get(reset), now) for left, reset in _ALLOWANCES if _number(headers.get(left)) == 0]
    return max((wait for wait in waits if wait is not None and 0 < wait <= _LONGEST), default=None)


def duration(text: str) -> float | None:
    """Seconds of "6m0s", "1.2s", "12ms" or "1d2h"; None when it is anything else."""
    total, end = 0.0, 0
    stripped = text.strip()
    while found := _PART.match(stripped, end):
        total += float(found[1]) * _UNITS[found[2].lower()]
        end = found.end()
    return total if end and end == len(stripped) else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _scaled(text: str | None, factor: float) -> float | None:
    value = _number(text)
    return None if value is None else value * factor


def _moment(text: str | None, now: float) -> float | None:
    """Seconds from now of a delay, a duration, or a time: since the epoch (in seconds or milliseconds), or as RFC 3339
    or HTTP write it.
    """
    value = _number(text)
    if value is not None:
        if value >= _EPOCH_MS:
            return value / 1000 - now
        return value - now if value >= _EPOCH else value
    if not text:
        return None
    if (span := duration(text)) is not None:
        return span
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        with suppress(ValueError, OverflowError, OSError, IndexError, TypeError):
            return read(text).timestamp() - now
    return None


def _sentence(message: str) -> float | None:
    found = _SENTENCE.search(message[:16_384])
    if not found:
        return None
    short = _WORD.sub(lambda word: "ms" if word[0].lower().startswith("milli") else word[0][0].lower(), found[1])
    return duration(re.sub(r",|\band\b", " ", short))


def _reset(headers: Mapping[str, str], now: float) -> float | None:
    """A reset where nothing says which allowance has run out: of tokens, which long prompts use up first."""
    for name in ("-tokens", "-requests", ""):
        if (wait := _moment(headers.get(f"x-ratelimit-reset{name}"), now)) is not None:
            return wait
    return None
