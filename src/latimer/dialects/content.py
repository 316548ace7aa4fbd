"""Content: a client's blocks as parts, whatever the dialect."""

from __future__ import annotations

from msgspec import Raw, Struct, json
from msgspec.structs import replace

from latimer.dialects.context import Context
from latimer.dialects.media import Carried, carried_image, carried_pdf, check_size
from latimer.dialects.messages.admit import admit_block
from latimer.dialects.parts import FilePart, Part, TextPart
from latimer.dialects.server_blocks import told
from latimer.dialects.tools import function_definition
from latimer.documents import UnreadableDocument, check_pdf, plain_text
from latimer.errors import invalid
from latimer.wire import messages as wire

Marks = list[tuple[str, Raw | None]]
"""Cache marks with the paths of their blocks."""

NO_OUTPUT = "(no output)"
"""What an empty tool result says: some servers refuse an empty one, and a model wonders less about words."""
INTERRUPTED = "Error: no result: the call was interrupted before it finished"


class ToolOutput(Struct, frozen=True):
    """A tool result. `parts` are all it says, in order, for dialects whose results hold images and files; for the
    others `text` is what the result itself says, and `attached` are the parts that must follow in a user message.

    `mark` is the cache mark of the text, where the upstream takes them.
    """

    text: str
    attached: list[Part]
    parts: list[Part]
    mark: Raw | None = None


INTERRUPTED_OUTPUT = ToolOutput(INTERRUPTED, [], [TextPart(INTERRUPTED)])


def user_parts(block: wire.RequestBlock, path: str, context: Context) -> list[Part]:
    """The parts that say what a block of a user or system message says."""
    match block:
        case wire.TextBlock(text=text):
            context.lose_if_given(f"{path}.citations", block.citations, "the provider has no citations")
            return [TextPart(text, context.cache_mark(path, block.cache_control))] if text else []
        case wire.ImageBlock():
            check_size(block, path, context)
            image = _part(carried_image(block.source, path, context))
            return [replace(image, mark=context.cache_mark(path, block.cache_control))]
        case wire.DocumentBlock():
            context.lose_if_given(f"{path}.citations", block.citations, "the provider has no citations")
            return document_parts(block, path, context, context.cache_mark(path, block.cache_control))
        case wire.SearchResultBlock():
            context.lose_if_given(f"{path}.citations", block.citations, "the provider has no citations")
            return [_search_result(block, path, context)]
        case wire.ToolResultBlock():
            context.lose(path, "it does not follow its tool call, so it is told as text", "approximated")
            output = tool_output(block, path, block.tool_use_id, context)
            result = TextPart(f"[result of tool call {block.tool_use_id}]\n{output.text}", output.mark)
            return [result, *output.attached]
        case _:
            words = told_text(block, path, context)
            return [TextPart(words)] if words else []


def told_text(block: wire.RequestBlock, path: str, context: Context) -> str:
    """A block that no other API has a form for, as text where it has words, else as a mark in its place."""
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
        if isinstance(part, TextPart):
            texts.append(part.text)
        else:
            context.lose(path, f"no {part.kind} can be carried here", "approximated")
            texts.append(f"[{part.kind} left out: it cannot be carried here]")
    return texts


def _part(carried: Carried) -> Part:
    return TextPart(carried) if isinstance(carried, str) else carried


def document_parts(block: wire.DocumentBlock, path: str, context: Context, mark: Raw | None) -> list[Part]:
    """A document as a file part where the upstream takes PDFs, else as its text."""
    match block.source:
        case wire.Base64Source(media_type="application/pdf", data=data):
            return _pdf_document(data, block, path, context, mark)
        case wire.Base64Source(media_type=media_type, data=data):
            return [TextPart(_titled(_extracted(media_type, data, path, context), block), mark)]
        case wire.TextSource(data=text):
            return [TextPart(_titled(text, block), mark)]
        case wire.ContentSource(content=content):
            if isinstance(content, str):
                return [TextPart(_titled(content, block), mark)]
            return _content_document(content, block, path, context, mark)
        case wire.URLSource():
            raise invalid(f"{path}.source.url: this gateway fetches no documents; send the file itself as base64")
        case wire.FileSource():
            raise invalid(f"{path}.source.file_id: this gateway has no Files API; send the file itself as base64")


def _content_document(
    content: list[Raw], block: wire.DocumentBlock, path: str, context: Context, mark: Raw | None
) -> list[Part]:
    """A document made of text and image blocks, between its opening and closing tag."""
    parts: list[Part] = []
    for index, raw in enumerate(content):
        inner = f"{path}.source.content.{index}"
        parts += user_parts(admit_block(raw, inner, context.losses), inner, context)
    opening, _, closing = _titled("\0", block).partition("\0")
    return [TextPart(opening.strip()), *parts, TextPart(closing.strip(), mark)]


def _pdf_document(data: str, block: wire.DocumentBlock, path: str, context: Context, mark: Raw | None) -> list[Part]:
    try:
        if context.profile.media.pdf == "file" and context.profile.messages.content != "string_only":
            check_pdf(data)
            return [_file_part(data, block, path, context, mark)]
        carried = carried_pdf(data, path, context)
    except UnreadableDocument as error:
        context.lose(path, str(error), "approximated")
        carried = [f"[document left out: {error}]"]
    opening, _, closing = _titled("\0", block).partition("\0")
    first, *rest = carried
    parts = [_part(each) for each in (f"{opening}{first}" if isinstance(first, str) else first, *rest)]
    last = parts[-1]
    if isinstance(last, TextPart):
        return [*parts[:-1], TextPart(last.text + closing, mark)]
    return [*parts, TextPart(closing.strip(), mark)]


def _file_part(data: str, block: wire.DocumentBlock, path: str, context: Context, mark: Raw | None) -> Part:
    if block.context:
        context.lose(f"{path}.context", "a file part has no place for it")
    return FilePart(block.title or "document.pdf", f"data:application/pdf;base64,{data}", mark)


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
        marks += [(inner, part.mark) for part in parts]
    mark = _last_mark([*marks, (path, context.cache_mark(path, block.cache_control))], context)
    head = f"<search_result source={json.encode(block.source).decode()} title={json.encode(block.title).decode()}>"
    return TextPart("\n".join([head, *texts, "</search_result>"]), mark)


def tool_output(block: wire.ToolResultBlock, path: str, call_id: str, context: Context) -> ToolOutput:
    """A tool result, both with its images and files and with these set aside."""
    if block.toolset_name:
        context.lose(f"{path}.toolset_name", "the provider has no toolsets")
    texts: list[str] = []
    marks: Marks = []
    attached: list[Part] = []
    parts: list[Part] = []
    if isinstance(block.content, str):
        texts.append(block.content)
        parts.append(TextPart(block.content))
    else:
        for index, raw in enumerate(block.content or []):
            inner = f"{path}.content.{index}"
            for part in _result_parts(admit_block(raw, inner, context.losses), inner, context):
                parts.append(part)
                if isinstance(part, TextPart):
                    texts.append(part.text)
                    marks.append((inner, part.mark))
                else:
                    label = f"{part.kind} {len(attached) // 2 + 1} of tool result {call_id}"
                    texts.append(f"[{label}, attached below]")
                    attached += [TextPart(f"[{label}]"), part]
    mark = _last_mark([*marks, (path, context.cache_mark(path, block.cache_control))], context)
    text = "\n".join(text for text in texts if text) or NO_OUTPUT
    if block.is_error:
        text, parts = _marked(text), _marked_parts(parts)
    return ToolOutput(text, attached, parts, mark)


def _result_parts(block: wire.RequestBlock, path: str, context: Context) -> list[Part]:
    if isinstance(block, wire.ToolReferenceBlock):
        return [TextPart(referenced_tool(block, path, context), context.cache_mark(path, block.cache_control))]
    return user_parts(block, path, context)


def referenced_tool(block: wire.ToolReferenceBlock, path: str, context: Context) -> str:
    """The definition of a tool that a search has found, in the form Claude Code's ToolSearch promises the model."""
    tool = context.tools.get(block.tool_name)
    if tool is None:
        context.lose(path, "no tool of this name is in the request", "approximated")
        return f"Tool {block.tool_name} not found"
    definition = json.encode(function_definition(tool, context.profile.tools)).decode()
    return f"<functions>\n<function>{definition}</function>\n</functions>"


def _last_mark(marks: Marks, context: Context) -> Raw | None:
    """Of the cache marks in one part the last, which covers what the others do: a part takes no more than one."""
    given = [(path, mark) for path, mark in marks if mark is not None]
    for path, _ in given[:-1]:
        context.lose(f"{path}.cache_control", "a later mark of the same part covers it", "approximated")
    return given[-1][1] if given else None


def _marked(text: str) -> str:
    """An error result: OpenAI's APIs have no field for it, so the text says it, once."""
    return text if text.lower().startswith(("error", "<tool_use_error>")) else f"Error: {text}"


def _marked_parts(parts: list[Part]) -> list[Part]:
    match parts:
        case [TextPart(text=text) as first, *rest]:
            return [replace(first, text=_marked(text)), *rest]
        case _:
            return [TextPart("Error:"), *parts]
