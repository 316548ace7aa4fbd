"""Reads what an upstream sent instead of an answer: every body shape there is, and text that is safe to show.

Nothing here raises: whatever the bytes are, there is an `ErrorBody`, if need be an empty one.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

_SHOWN = 1200
"""Bytes of an upstream's own words that are passed on: with Latimer's words around them it stays below 2 kB."""
_READ = 16_384
_DEEP = 6


class ErrorBody(Struct, frozen=True):
    """An upstream's error, whatever shape it came in.

    `message` is its text, unshortened and unredacted: for recognising, never for showing (`shown` makes it so).
    `words` are its code and type words. `param` is the request field it blames, as a path ("reasoning_effort",
    "messages.3.content"). `status` is an HTTP status given inside the body, else 0. `input_tokens` and `window` are
    llama.cpp's figures. `retry` is Google's wait ("37s"). `headers` are those of the provider behind an aggregator.
    `html` marks a web page.
    """

    message: str = ""
    words: tuple[str, ...] = ()
    param: str = ""
    status: int = 0
    input_tokens: int | None = None
    window: int | None = None
    retry: str = ""
    headers: dict[str, str] = {}
    html: bool = False


def read_body(body: bytes) -> ErrorBody:
    """The error in the body of an HTTP answer: JSON of any shape, an SSE stream of one event, HTML, text or nothing."""
    for part in (body, _event_data(body)):
        try:
            return read_error(msgspec.json.decode(part))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
    text = body[: _READ * 4].decode("utf-8", "replace").replace("\ufffd", "").replace("\x00", "").strip()[:_READ]
    if _is_html(text):
        return ErrorBody(message=_page_text(text), html=True)
    return ErrorBody(message=text)


def read_error(body: Any) -> ErrorBody:
    """The error in decoded JSON: OpenAI's envelope, a flat one, a list, a string, `detail`, MiniMax's `base_resp`."""
    source = _source(body)
    if not isinstance(source, dict):
        return ErrorBody(message=source if isinstance(source, str) else "")
    around = body if isinstance(body, dict) else {}
    message, param = _message(source, 0)
    metadata = _dict(source.get("metadata"))
    if raw := _raw_text(metadata.get("raw")):
        message = f"{message}: {raw}" if message and raw not in message else raw
    fields = [source, metadata, around]
    return ErrorBody(
        message=message or _leftover(source),
        words=tuple(dict.fromkeys(_words(fields))),
        param=str(source.get("param") or "") or param,
        status=next(_statuses(fields), 0),
        input_tokens=_count(source.get("n_prompt_tokens")),
        window=_count(source.get("n_ctx")),
        retry=_retry_delay(source.get("details")),
        headers={str(key): str(value) for key, value in _dict(metadata.get("headers")).items()},
    )


def holds_error(body: Any) -> bool:
    """Whether decoded JSON that came with status 200 is an error instead of an answer or a chunk of one."""
    if isinstance(body, list):
        return bool(body) and holds_error(body[0])
    if not isinstance(body, dict):
        return False
    if body.get("error") or body.get("object") == "error" or body.get("type") == "error":
        return True
    if body.get("choices"):
        return False
    return bool(_dict(body.get("base_resp")).get("status_code")) or "detail" in body or _is_flat_error(body)


def _is_flat_error(body: dict[str, Any]) -> bool:
    # SiliconFlow's {"code":20015,"message":…}; an answer has neither key at its top level.
    return "message" in body and "code" in body and "choices" not in body


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _source(body: Any) -> Any:
    """The object (or string) that describes the error."""
    if isinstance(body, list):
        return _source(body[0]) if body else None
    if not isinstance(body, dict):
        return body
    error = body.get("error")
    if isinstance(error, dict) and error:
        return error
    if isinstance(error, list) and error and isinstance(error[0], dict):
        return error[0]
    if base := _dict(body.get("base_resp")):
        return {"message": base.get("status_msg"), "code": base.get("status_code")}
    return body


_TEXT_KEYS = ("message", "error", "detail", "msg", "error_message", "error_description", "errors", "title", "Message")


def _message(value: Any, depth: int) -> tuple[str, str]:
    """The best text in a value and the field it blames; ("", "") when there is none."""
    if isinstance(value, str):
        return value.strip(), ""
    if depth > _DEEP:
        return "", ""
    if isinstance(value, list):
        return _listed(value, depth)
    if not isinstance(value, dict):
        return "", ""
    if isinstance(value.get("msg"), str) and isinstance(value.get("loc"), list):
        path = ".".join(str(step) for step in value["loc"] if step != "body")
        return f"{path}: {value['msg']}", path
    found = (_message(value[key], depth + 1) for key in _TEXT_KEYS if value.get(key))
    return next((pair for pair in found if pair[0]), ("", ""))


def _listed(values: list[Any], depth: int) -> tuple[str, str]:
    pairs = [pair for item in values[:5] if (pair := _message(item, depth + 1))[0]]
    return "; ".join(text for text, _ in pairs), pairs[0][1] if pairs else ""


def _raw_text(raw: Any) -> str:
    """What the provider behind an aggregator said: OpenRouter carries its body as a string."""
    if not isinstance(raw, str):
        return _message(raw, 0)[0]
    try:
        return _message(_source(msgspec.json.decode(raw)), 0)[0] or raw.strip()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _page_text(raw[:_READ]) if _is_html(raw) else raw.strip()


def _leftover(source: dict[str, Any]) -> str:
    rest = {key: value for key, value in source.items() if value not in (None, "", [], {})}
    try:
        return msgspec.json.encode(rest).decode()[:_READ] if rest else ""
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return ""


def _words(fields: list[dict[str, Any]]) -> Iterator[str]:
    for source in fields:
        for key in ("code", "type", "error_type", "status", "error"):
            value = source.get(key)
            if isinstance(value, str) and value and " " not in value and len(value) <= 80:
                yield value
            elif isinstance(value, int) and not isinstance(value, bool):
                yield str(value)[:20]


def _statuses(fields: list[dict[str, Any]]) -> Iterator[int]:
    for source in fields:
        for key in ("http_code", "code", "status", "status_code"):
            value = str(source.get(key))
            if re.fullmatch(r"[45][0-9]{2}", value):
                yield int(value)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**12 else None


def _retry_delay(details: Any) -> str:
    if not isinstance(details, list):
        return ""
    delays = (item.get("retryDelay") for item in details if isinstance(item, dict))
    return next((delay for delay in delays if isinstance(delay, str)), "")


def _event_data(body: bytes) -> bytes:
    """The data of the first event, when an error answer is a stream."""
    lines = (line.removeprefix(b"data:").strip() for line in body[:_READ].splitlines() if line.startswith(b"data:"))
    return next(lines, b"")


_HTML = re.compile(r"<(?:!doctype html|html|head|body|title|h1|center)\b", re.IGNORECASE)
_HIDDEN = re.compile(r"<(script|style|svg|head)\b.{0,8192}?</\1>|<!--.{0,4096}?-->", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]{0,200}>(.{0,400}?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]{0,2048}>")
_TRUNCATED_SCRIPT = re.compile(r"<(?:script|style)\b.*", re.IGNORECASE | re.DOTALL)


def _is_html(text: str) -> bool:
    return bool(_HTML.search(text[:2048]))


def _page_text(page: str) -> str:
    """The title of a web page, and its text where that says more."""
    title = found[1] if (found := _TITLE.search(page)) else ""
    body = _TAG.sub(" ", _TRUNCATED_SCRIPT.sub(" ", _HIDDEN.sub(" ", _TITLE.sub(" ", page))))
    title, body = (" ".join(html.unescape(text).split()) for text in (title, body))
    if not title or body.startswith(title):
        return body
    return f"{title}: {body}" if body else title


_MASK = "[redacted]"
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)(://)[^/\s@]{1,400}@"), rf"\1{_MASK}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+(?=[^\s\"',;]{20}|[^\s\"',;]{0,20}[0-9])[^\s\"',;]{6,}"), rf"\1 {_MASK}"),
    # Named: `api_key=…`, "Incorrect API key provided: …" (even when it is masked by the provider), `token: …9…`
    (re.compile(r"(?i)\b(api[-_ ]?key(?:[ \w]{0,20})?[\"']?\s*[=:]\s*[\"'`]?)[^\s\"'`,;&]{3,}"), rf"\1{_MASK}"),
    (re.compile(r"(?i)((?:key|token|secret|password|signature)=)[^\s\"'`,;&]{3,}"), rf"\1{_MASK}"),
    (
        re.compile(
            r"(?i)\b((?:key|token|secret|password|authorization)\b[\"']?\s*:\s*[\"'`]?)"
            r"(?=[^\s\"'`]{0,60}[0-9*])[^\s\"'`,;&]{6,}"
        ),
        rf"\1{_MASK}",
    ),
    # By the issuers' prefixes: anywhere with a digit in it, otherwise as a word of its own ("task-specific" is none).
    (re.compile(r"sk-(?=[\w-]{0,200}[0-9])[\w-]{6,}"), _MASK),
    (re.compile(r"(?<![\w-])(?:sk|pk|rk|gsk|xai|nvapi|hf|csk|pplx|tgp|fw|r8|gh[opsu]|github_pat)[-_][\w-]{8,}"), _MASK),
    (re.compile(r"(?:AIza[\w-]{20,}|eyJ[\w-]{10,400}\.[\w.-]{10,})"), _MASK),
    # By their length: no word and no model's name has so many letters and digits in a row.
    (re.compile(r"(?=[A-Za-z]{0,200}[0-9])(?=[0-9]{0,200}[A-Za-z])[A-Za-z0-9]{32,}(?:\.[A-Za-z0-9]{8,})?"), _MASK),
    (re.compile(r"(?<![\w/.-])(?=[\w+-]{0,200}[0-9])[A-Za-z0-9_+-]{64,}={0,2}"), _MASK),
)


def redacted(text: str) -> str:
    """The text without anything that looks like a key, a token or the password in a URL."""
    for pattern, mask in _SECRETS:
        text = pattern.sub(mask, text)
    return text


def shown(text: str, limit: int = _SHOWN) -> str:
    """An upstream's words as they may go to a user: on one line, redacted, at most `limit` bytes of valid UTF-8."""
    line = " ".join(text[:_READ].split())
    return capped(redacted(line), limit)


def capped(text: str, limit: int) -> str:
    """The text cut to `limit` bytes of UTF-8, with an ellipsis where something is missing."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - 3].decode("utf-8", "ignore").rstrip() + "…"


def lower_keys(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by lower-case name, whatever mapping they came in."""
    return {str(name).lower(): str(value) for name, value in headers.items()}
