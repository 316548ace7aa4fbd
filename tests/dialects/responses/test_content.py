"""Content parts of the Responses API, and where a tool's result may hold them."""

from typing import Any

import pytest

from tests.dialects.chat.asking import Json, assistant, call, marked, result, text, user
from tests.dialects.responses.asking import Asked, profile, said
from tests.scenarios import files

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
SHOWN = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
SPEC = profile(media={"tool_images": "spec"})


def words(text: str) -> Json:
    return {"type": "input_text", "text": text}


def results(content: Any, rules: Any, **more: Any) -> Any:
    """The output of a call whose result has this content, and what the user says after it."""
    asked = Asked("go", assistant(call("toolu_A")), user(result("toolu_A", content, **more)), rules=rules)
    return [asked.input[2]["output"], *(item["content"] for item in asked.input[3:])]


def test_images_and_files_are_input_parts() -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": files.coded(files.pdf("x"))}
    asked = Asked(user(text("see"), IMAGE, {"type": "document", "source": pdf}), rules=profile(media={"pdf": "file"}))
    url = f"data:application/pdf;base64,{pdf['data']}"
    file = {"type": "input_file", "filename": "document.pdf", "file_data": url}
    assert asked.input[0]["content"] == [words("see"), SHOWN, file]


def test_text_alone_is_a_string_only_where_nothing_else_is_taken() -> None:
    assert Asked(user(text("a"), text("b"))).input == [said("a", "b")]
    plain = Asked(user(text("a"), text("b")), rules=profile(messages={"content": "string_only"}))
    assert plain.input == [{"type": "message", "role": "user", "content": "a\n\nb"}]


def test_there_are_no_cache_marks_here_whatever_the_provider_takes_elsewhere() -> None:
    rules = profile(cache={"cache_control": "pass"})
    asked = Asked(user(marked(text("a"))), assistant(call("toolu_A")), user(marked(result("toolu_A"))), rules=rules)
    assert asked.input[0]["content"] == [words("a")]
    assert asked.input[2]["output"] == "ok"
    assert [field.split(".")[-1] for field in asked.lost] == ["cache_control", "cache_control"]


@pytest.mark.parametrize(
    ("content", "is_error", "told"),
    [
        ("out", False, "out"),
        ("", False, "(no output)"),
        ([text("a"), text("b")], False, "a\nb"),
        ("Exit code 1", True, "Error: Exit code 1"),
        ([text("Exit code 1"), IMAGE], True, [words("Error: Exit code 1"), SHOWN]),
        ([IMAGE], True, [words("Error:"), SHOWN]),
        ([text(""), IMAGE, text("b")], False, [SHOWN, words("b")]),
    ],
)
def test_a_result_holds_its_images_where_the_reference_lets_it(content: Any, is_error: bool, told: Any) -> None:
    assert results(content, SPEC, is_error=is_error) == [told]


def test_elsewhere_images_follow_with_the_user() -> None:
    labels = ("[image 1 of tool result toolu_A, attached below]", "[image 1 of tool result toolu_A]")
    assert results([text("a"), IMAGE], profile()) == [f"a\n{labels[0]}", [words(labels[1]), SHOWN]]
