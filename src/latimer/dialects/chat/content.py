"""Content as Chat Completions writes it."""

from __future__ import annotations

from typing import Any

from latimer.dialects.context import Context
from latimer.dialects.parts import FilePart, ImagePart, Part, TextPart

Content = str | list[dict[str, Any]]


def encode_part(part: Part) -> dict[str, Any]:
    """One content part, with its cache mark where it has one."""
    mark = {} if part.mark is None else {"cache_control": part.mark}
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text} | mark
        case ImagePart(url=url):
            return {"type": "image_url", "image_url": {"url": url}} | mark
        case FilePart(name=name, url=url):
            return {"type": "file", "file": {"filename": name, "file_data": url}} | mark


def encode_content(parts: list[Part], context: Context) -> Content:
    """Text alone becomes a string, which every server takes, whether the client sent a string or blocks.

    Where cache marks are passed on it is always a list, since the marks move from turn to turn and the rest must not.
    """
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    if context.profile.messages.content == "parts" or context.marks_caches or len(texts) < len(parts):
        return [encode_part(part) for part in parts]
    return "\n\n".join(texts)
