"""Content: a client's blocks as the parts of a chat message."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct, json

from latimer.dialects.messages.admit import admit_block
from latimer.documents import UnreadableDocument, check_pdf, plain_text
from latimer.errors import invalid
from latimer.wire import messages as wire

from .context import Context
from .media import Carried, carried_image, carried_pdf, check_size
from .server_blocks import told
from .tools import function_definition

Part = dict[str, Any]
Marks = list[tuple[str, Part]]
"""Cache marks with the paths of their blocks; an empty one is none."""

NO_OUTPUT = "(no output)"
"""What an empty tool result says: some servers refuse an empty one, and a model wonders less about words."""
INTERRUPTED = "Error: no result: the call was interrupted before it finished"


class ToolOutput(Struct, frozen=True):
    """A tool result: the text of its `tool` message, and the parts that must follow in a user message.

    `mark` is the cache mark of the text, where the upstream takes them.
    """

    text: str
    attached: list[Part]
    mark: dict[str, Raw] = {}


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


def user_parts(block: wire.RequestBlock, path: str, context: Context) -> list[Part]:
    """The parts that say what a block of a user or system message says."""
    match block:
        case wire.TextBlock(text=text):
            context.lose_if_given(f"{path}.citations", block.citations, "the provider has no citations")
            return [text_part(text) | context.cache_control(path, block.cache_control)] if text else []
        case wire.ImageBlock():
            check_size(block, path, context)
            image = _part(carried_image(block.source, path, context))
            return [image | context.cache_control(path, block.cache_control)]
        case wire.DocumentBlock():
            context.lose_if_given(f"{path}.citations", block.citations, "the provider has no citations")
            return document_parts(block, path, context, context.cache_control(path, block.cache_control))
        case wire.SearchResultBlock():
            context.lose_if_given(f"{path}.citations", block.citations, "the provider has no citations")
            return [_search_result(block, path, context)]
        case wire.ToolResultBlock():
            context.lose(path, "it does not follow its tool call, so it is told as text", "approximated")
            output = tool_output(block, path, block.tool_use_id, context)
            result = text_part(f"[result of tool call {block.tool_use_id}]\n{output.text}")
            return [result | output.mark, *output.attached]
        case _:
            words = told_text(block, path, context)
            return [text_part(words)] if words else []


def told_text(block: wire.RequestBlock, path: str, context: Context) -> str:
    """A block that Chat Completions has no form for, as text where it has words, else as a mark in its place."""
    kind = block.type if isinstance(block, wire.UnknownBlock) else str(block.__struct_config__.tag)
    text = told(block) if isinstance(block, wire.UnknownBlock) else None
    if text is None:
        context.lose(path, f"a {kind!r} block cannot be carried here", "approximated")
        return f"[{kind} block left out: it cannot be carried to this model]"
    context.lose(path, f"a {kind!r} block is Anthropic's own" + (", told as text" if text else ""), "approximated")
    return text


def texts_only(parts: list[Part], path: str, context: Context) -> list[str]:
    """The texts of parts that go where only text is taken; a mark stands for what is not text."""
    texts: list[str] = []
    for part in parts:
        if part["type"] == "text":
            texts.append(part["text"])
        else:
            kind = part["type"].removesuffix("_url")
            context.lose(path, f"no {kind} can be carried here", "approximated")
            texts.append(f"[{kind} left out: it cannot be carried here]")
    return texts


def _part(carried: Carried) -> Part:
    return text_part(carried) if isinstance(carried, str) else carried


def document_parts(block: wire.DocumentBlock, path: str, context: Context, mark: dict[str, Raw]) -> list[Part]:
    """A document as a file part where the upstream takes PDFs, else as its text."""
    match block.source:
        case wire.Base64Source(media_type="application/pdf", data=data):
            return _pdf_document(data, block, path, context, mark)
        case wire.Base64Source(media_type=media_type, data=data):
            return [text_part(_titled(_extracted(media_type, data, path, context), block)) | mark]
        case wire.TextSource(data=text):
            return [text_part(_titled(text, block)) | mark]
        case wire.ContentSource(content=content):
            if isinstance(content, str):
                return [text_part(_titled(content, block)) | mark]
            return _content_document(content, block, path, context, mark)
        case wire.URLSource():
            raise invalid(f"{path}.source.url: this gateway fetches no documents; send the file itself as base64")
        case wire.FileSource():
            raise invalid(f"{path}.source.file_id: this gateway has no Files API; send the file itself as base64")


def _content_document(
    content: list[Raw], block: wire.DocumentBlock, path: str, context: Context, mark: dict[str, Raw]
) -> list[Part]:
    """A document made of text and image blocks, between its opening and closing tag."""
    parts: list[Part] = []
    for index, raw in enumerate(content):
        inner = f"{path}.source.content.{index}"
        parts += user_parts(admit_block(raw, inner, context.losses), inner, context)
    opening, _, closing = _titled("\0", block).partition("\0")
    return [text_part(opening.strip()), *parts, text_part(closing.strip()) | mark]


def _pdf_document(
    data: str, block: wire.DocumentBlock, path: str, context: Context, mark: dict[str, Raw]
) -> list[Part]:
    try:
        if context.profile.media.pdf == "file" and context.profile.messages.content != "string_only":
            check_pdf(data)
            return [_file_part(data, block, path, context) | mark]
        carried = carried_pdf(data, path, context)
    except UnreadableDocument as error:
        context.lose(path, str(error), "approximated")
        carried = [f"[document left out: {error}]"]
    opening, _, closing = _titled("\0", block).partition("\0")
    first, *rest = carried
    parts = [_part(each) for each in (f"{opening}{first}" if isinstance(first, str) else first, *rest)]
    if parts[-1]["type"] == "text":
        parts[-1] = text_part(parts[-1]["text"] + closing)
    else:
        parts.append(text_part(closing.strip()))
    return [*parts[:-1], parts[-1] | mark]


def _file_part(data: str, block: wire.DocumentBlock, path: str, context: Context) -> Part:
    if block.context:
        context.lose(f"{path}.context", "a file part has no place for it")
    name = block.title or "document.pdf"
    return {"type": "file", "file": {"filename": name, "file_data": f"data:application/pdf;base64,{data}"}}


def _extracted(media_type: str, data: str, path: str, context: Context) -> str:
    """A document's text; when there is none, a mark that says why, since a 400 would come back on every later turn."""
    try:
        if media_type.startswith("text/"):
            return plain_text(data)
        raise UnreadableDocument(f"documents of type {media_type} cannot be read")
    except UnreadableDocument as error:
        context.lose(path, str(error), "approximated")
        return f"[document left out: {error}]"


def _titled(text: str, block: wire.DocumentBlock) -> str:
    attributes = "".join(
        f" {name}={json.encode(value).decode()}"
        for name, value in (("title", block.title), ("context", block.context))
        if value
    )
    return f"<document{attributes}>\n{text}\n</document>"


def _search_result(block: wire.SearchResultBlock, path: str, context: Context) -> Part:
    texts: list[str] = []
    marks: Marks = []
    for index, raw in enumerate(block.content):
        inner = f"{path}.content.{index}"
        parts = user_parts(admit_block(raw, inner, context.losses), inner, context)
        texts += texts_only(parts, inner, context)
        marks += [(inner, _mark_of(part)) for part in parts]
    mark = _last_mark([*marks, (path, context.cache_control(path, block.cache_control))], context)
    head = f"<search_result source={json.encode(block.source).decode()} title={json.encode(block.title).decode()}>"
    return text_part("\n".join([head, *texts, "</search_result>"])) | mark


def tool_output(block: wire.ToolResultBlock, path: str, call_id: str, context: Context) -> ToolOutput:
    """A tool result as text, with images and files set aside: most servers take only text in a tool message."""
    if block.toolset_name:
        context.lose(f"{path}.toolset_name", "the provider has no toolsets")
    texts: list[str] = []
    marks: Marks = []
    attached: list[Part] = []
    if isinstance(block.content, str):
        texts.append(block.content)
    else:
        for index, raw in enumerate(block.content or []):
            inner = f"{path}.content.{index}"
            for part in _result_parts(admit_block(raw, inner, context.losses), inner, context):
                if part["type"] == "text":
                    texts.append(part["text"])
                    marks.append((inner, _mark_of(part)))
                else:
                    kind = "image" if part["type"] == "image_url" else "file"
                    label = f"{kind} {len(attached) // 2 + 1} of tool result {call_id}"
                    texts.append(f"[{label}, attached below]")
                    attached += [text_part(f"[{label}]"), part]
    mark = _last_mark([*marks, (path, context.cache_control(path, block.cache_control))], context)
    text = "\n".join(text for text in texts if text) or NO_OUTPUT
    return ToolOutput(_marked(text) if block.is_error else text, attached, mark)


def _result_parts(block: wire.RequestBlock, path: str, context: Context) -> list[Part]:
    if isinstance(block, wire.ToolReferenceBlock):
        return [text_part(_referenced(block, path, context)) | context.cache_control(path, block.cache_control)]
    return user_parts(block, path, context)


def _referenced(block: wire.ToolReferenceBlock, path: str, context: Context) -> str:
    """The definition of a tool that a search has found, in the form Claude Code's ToolSearch promises the model."""
    tool = context.tools.get(block.tool_name)
    if tool is None:
        context.lose(path, "no tool of this name is in the request", "approximated")
        return f"Tool {block.tool_name} not found"
    definition = json.encode(function_definition(tool, context.profile.tools)).decode()
    return f"<functions>\n<function>{definition}</function>\n</functions>"


def _mark_of(part: Part) -> Part:
    return {key: value for key, value in part.items() if key == "cache_control"}


def _last_mark(marks: Marks, context: Context) -> Part:
    """Of the cache marks in one part the last, which covers what the others do: a part takes no more than one."""
    given = [(path, mark) for path, mark in marks if mark]
    for path, _ in given[:-1]:
        context.lose(f"{path}.cache_control", "a later mark of the same part covers it", "approximated")
    return given[-1][1] if given else {}


def _marked(text: str) -> str:
    """An error result: Chat Completions has no field for it, so the text says it, once."""
    return text if text.lower().startswith(("error", "<tool_use_error>")) else f"Error: {text}"
