"""Blocks as parts: what a model sees of images, documents and tool results, and what stands in for the rest."""

from typing import Any

import pytest

from latimer.dialects.media import UNSEEN
from latimer.errors import Rejection
from tests.dialects.chat.asking import Asked, Json, assistant, call, profile, result, system, text, user
from tests.scenarios import files

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
PART = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}


def document(source: Json, **more: Any) -> Json:
    return {"type": "document", "source": source, **more}


def output(content: Any, rules: Any = None, **more: Any) -> Json:
    """The tool message for a result with this content."""
    said = ("go", assistant(call("toolu_A")), user(result("toolu_A", content, **more)))
    asked = Asked(*said, rules=rules) if rules else Asked(*said)
    return asked.messages[2]


@pytest.mark.parametrize(
    ("content", "is_error", "told"),
    [
        ("out", False, "out"),
        ("", False, "(no output)"),
        ([text(""), text("")], False, "(no output)"),
        ("Exit code 1", True, "Error: Exit code 1"),
        ("ERROR: no such file", True, "ERROR: no such file"),
        ("<tool_use_error>x</tool_use_error>", True, "<tool_use_error>x</tool_use_error>"),
        ("error", False, "error"),
        ([text("a"), text("b")], False, "a\nb"),
        ([{"type": "hologram"}], False, "[hologram block left out: it cannot be carried to this model]"),
    ],
)
def test_tool_output_is_text(content: Any, is_error: bool, told: str) -> None:
    assert output(content, is_error=is_error)["content"] == told


def test_images_of_one_result_are_told_apart() -> None:
    asked = Asked("go", assistant(call("toolu_A")), user(result("toolu_A", [IMAGE, text("and"), IMAGE])))
    assert asked.messages[2]["content"] == (
        "[image 1 of tool result toolu_A, attached below]\nand\n[image 2 of tool result toolu_A, attached below]"
    )
    labels = [part.get("text") for part in asked.messages[3]["content"]]
    assert labels == ["[image 1 of tool result toolu_A]", None, "[image 2 of tool result toolu_A]", None]


def test_labels_name_the_call_as_the_model_knows_it() -> None:
    rules = profile(tools={"id_pattern": "[A-Za-z0-9]{9}"})
    asked = Asked("go", assistant(call("toolu_A")), user(result("toolu_A", [IMAGE])), rules=rules)
    made = asked.messages[1]["tool_calls"][0]["id"]
    assert asked.messages[3]["content"][0]["text"] == f"[image 1 of tool result {made}]"


@pytest.mark.parametrize("rules", [{"media": {"images": False}}, {"messages": {"content": "string_only"}}])
def test_a_model_without_eyes_is_told_that_there_was_an_image(rules: Any) -> None:
    asked = Asked(user(IMAGE, text("?")), rules=profile(**rules))
    assert asked.messages[0]["content"] == f"{UNSEEN}\n\n?"
    assert asked.lost == {"messages.0.content.0"}


def test_a_model_without_files_gets_text_where_only_strings_are_taken() -> None:
    rules = profile(media={"pdf": "file"}, messages={"content": "string_only"})
    assert "[document left out" in Asked(user(PDF), rules=rules).messages[0]["content"]


@pytest.mark.parametrize(
    ("block", "named"),
    [
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "messages.0.content.0.source.file_id"),
        (document({"type": "file", "file_id": "f"}), "messages.0.content.0.source.file_id"),
        (document({"type": "url", "url": "https://a.example/x.pdf"}), "messages.0.content.0.source.url"),
    ],
)
def test_what_only_anthropic_could_fetch_is_refused_by_name(block: Json, named: str) -> None:
    with pytest.raises(Rejection, match=named):
        Asked(user(block))


@pytest.mark.parametrize(
    ("block", "lost"),
    [
        (text("a", citations=[{"type": "char_location"}]), "citations"),
        ({**IMAGE, "transformations": {"oversized_image": "error"}}, "transformations"),
        (document({"type": "text", "data": "a"}, citations={"enabled": True}), "citations"),
        (
            {"type": "search_result", "source": "s", "title": "t", "content": [], "citations": {"enabled": True}},
            "citations",
        ),
        (text("a", cache_control={"type": "ephemeral"}), "cache_control"),
    ],
)
def test_what_a_block_loses_is_reported(block: Json, lost: str) -> None:
    assert Asked(user(block)).lost == {f"messages.0.content.0.{lost}"}


def test_a_files_context_has_no_place_beside_the_file() -> None:
    source = {**PDF["source"], "data": files.coded(files.pdf("x"))}
    said = document(source, title="t.pdf", context="c")
    asked = Asked(user(said), rules=profile(media={"pdf": "file"}))
    assert asked.messages[0]["content"][0]["file"]["filename"] == "t.pdf"
    assert asked.lost == {"messages.0.content.0.context"}


@pytest.mark.parametrize("style", ["string_if_text", "string_only", "parts"])
def test_content_takes_the_shape_the_provider_wants(style: str) -> None:
    content = Asked(user(text("a"), text("b")), rules=profile(messages={"content": style})).messages[0]["content"]
    assert content == ([text("a"), text("b")] if style == "parts" else "a\n\nb")


def test_what_is_no_text_cannot_be_said_as_a_reminder() -> None:
    asked = Asked("a", system(text("see"), IMAGE), rules=profile(messages={"mid_system": "tagged"}))
    assert asked.messages[1]["content"] == (
        "<system-reminder>\nsee\n\n[image left out: it cannot be carried here]\n</system-reminder>"
    )
    assert asked.lost == {"messages.1.role", "messages.1.content"}


def test_marks_inside_a_result_are_passed_on() -> None:
    rules = profile(cache={"cache_control": "pass"})
    mark = {"cache_control": {"type": "ephemeral"}}
    assert output([text("a"), {**text("b"), **mark}], rules)["content"] == [{**text("a\nb"), **mark}]
    orphan = Asked(user(result("toolu_gone", "x", **mark)), rules=rules).messages[0]["content"]
    assert orphan == [{**text("[result of tool call toolu_gone]\nx"), **mark}]
