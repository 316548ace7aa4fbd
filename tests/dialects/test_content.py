"""Blocks as parts. What a model is told of each kind of block is tested through Chat Completions."""

from typing import Any

import pytest
from msgspec import Raw, json

from latimer.dialects.content import ToolOutput, tool_output, user_parts
from latimer.dialects.context import Context
from latimer.dialects.parts import FilePart, ImagePart, Part, TextPart
from latimer.wire.messages import Base64Source, DocumentBlock, ImageBlock, ToolResultBlock
from tests.dialects.chat.asking import ROUTE, Json, profile, text
from tests.scenarios import files

PNG = files.coded(files.png())
PDF = files.coded(files.pdf("x"))
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
SHOWN = ImagePart(f"data:image/png;base64,{PNG}")
MARK = Raw(b'{"type":"ephemeral"}')


def context(**rules: Json) -> Context:
    return Context(ROUTE, profile(**rules), {}, [])


def output(content: list[Json] | str, *, is_error: bool = False) -> ToolOutput:
    raw: Any = content if isinstance(content, str) else [Raw(json.encode(block)) for block in content]
    return tool_output(ToolResultBlock("toolu_A", raw, is_error), "p", "call_1", context())


def test_a_result_is_told_both_ways() -> None:
    assert output([text("a"), IMAGE, text("b")]) == ToolOutput(
        "a\n[image 1 of tool result call_1, attached below]\nb",
        [TextPart("[image 1 of tool result call_1]"), SHOWN],
        [TextPart("a"), SHOWN, TextPart("b")],
    )


@pytest.mark.parametrize(
    ("content", "told", "parts"),
    [
        ("Exit code 1", "Error: Exit code 1", [TextPart("Error: Exit code 1")]),
        (
            [text("error 7"), IMAGE],
            "error 7\n[image 1 of tool result call_1, attached below]",
            [TextPart("error 7"), SHOWN],
        ),
        ([], "Error: (no output)", [TextPart("Error:")]),
    ],
)
def test_a_failed_result_says_so_once_both_ways(content: Any, told: str, parts: list[Part]) -> None:
    made = output(content, is_error=True)
    assert (made.text, made.parts) == (told, parts)


def test_parts_carry_the_marks_of_their_blocks() -> None:
    shared = context(cache={"cache_control": "pass"}, media={"pdf": "file"})
    image = ImageBlock(Base64Source("image/png", PNG), cache_control=MARK)
    pdf = DocumentBlock(Base64Source("application/pdf", PDF), title="x.pdf", cache_control=MARK)
    assert user_parts(image, "p", shared) == [ImagePart(SHOWN.url, MARK)]
    assert user_parts(pdf, "p", shared) == [FilePart("x.pdf", f"data:application/pdf;base64,{PDF}", MARK)]
    assert not shared.losses
