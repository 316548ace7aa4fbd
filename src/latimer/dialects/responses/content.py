"""Content as the Responses API writes it."""

from __future__ import annotations

from typing import Any

from latimer.dialects.context import Context
from latimer.dialects.parts import FilePart, ImagePart, Part, TextPart

Content = str | list[dict[str, Any]]


def encode_part(part: Part) -> dict[str, Any]:
    """One part of an input message or of a function's output."""
    match part:
        case TextPart(text=text):
            return {"type": "input_text", "text": text}
        case ImagePart(url=url):
            return {"type": "input_image", "image_url": url, "detail": "auto"}
        case FilePart(name=name, url=url):
            return {"type": "input_file", "filename": name, "file_data": url}


def encode_content(parts: list[Part], context: Context) -> Content:
    """Parts, or a string where the upstream takes nothing else."""
    if context.profile.messages.content == "string_only":
        return "\n\n".join(part.text for part in parts if isinstance(part, TextPart))
    return [encode_part(part) for part in parts]
