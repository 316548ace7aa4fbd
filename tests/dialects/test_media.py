"""Images and PDFs: what a model gets of them, as it sees or not, and that no file ever fails a request."""

import json
import re
from typing import Any

import pytest

from latimer import rendering
from latimer.dialects import media
from latimer.dialects.chat.request import encode_request
from latimer.dialects.media import UNDESCRIBED, UNSEEN
from latimer.dialects.outgoing import Outgoing
from latimer.errors import Rejection
from latimer.images import Description, Known
from tests.dialects.chat.asking import Asked, Json, assistant, call, parsed, profile, result, text, user
from tests.scenarios.files import coded, encrypted, pdf, png

BLIND = profile(media={"images": False})
FILES = profile(media={"pdf": "file"})
MIXED = pdf("first", None, "", "fourth", None)


def image(data: bytes = b"", kind: str = "image/png", **more: Any) -> Json:
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": coded(data or png())}, **more}


def document(data: bytes, **more: Any) -> Json:
    source = {"type": "base64", "media_type": "application/pdf", "data": coded(data)}
    return {"type": "document", "source": source, **more}


def shape(parts: Any) -> list[str]:
    """The texts of parts, and `<image>` for the others."""
    return [parts] if isinstance(parts, str) else [part.get("text", "<image>") for part in parts]


def described(*messages: Json, known: Known, rules: Any = BLIND) -> Outgoing:
    return encode_request(parsed(*messages), model="m", route="mill/m", profile=rules, descriptions=known)


def why(asked: Asked) -> set[str]:
    return {loss.why for loss in asked.losses}


def test_pages_stay_in_their_order() -> None:
    asked = Asked(user(document(MIXED, title="t"), text("?")))
    assert shape(asked.messages[0]["content"]) == [
        '<document title="t">\n[page 1 of 5]\nfirst\n\n[page 2 of 5]',
        "<image>",
        "[page 3 of 5]\n(empty page)\n\n[page 4 of 5]\nfourth\n\n[page 5 of 5]",
        "<image>",
        "</document>",
        "?",
    ]
    assert why(asked) == {"the PDF is sent as its text", "pages without text are sent as images"}


def test_a_scan_in_a_tool_result_is_attached_in_order() -> None:
    read = result("toolu_A", [text("PDF read"), document(pdf(None, None))])
    asked = Asked("go", assistant(call("toolu_A")), user(read))
    assert asked.messages[2]["content"] == (
        "PDF read\n<document>\n[page 1 of 2]\n[image 1 of tool result toolu_A, attached below]\n"
        "[page 2 of 2]\n[image 2 of tool result toolu_A, attached below]\n</document>"
    )
    assert shape(asked.messages[3]["content"]) == [
        "[image 1 of tool result toolu_A]",
        "<image>",
        "[image 2 of tool result toolu_A]",
        "<image>",
    ]


def test_a_cache_mark_stands_at_the_end() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    asked = Asked(user(document(MIXED, **mark)), rules=profile(cache={"cache_control": "pass"}))
    assert ["cache_control" in part for part in asked.messages[0]["content"]] == [False] * 4 + [True]


def test_a_blind_model_is_told_what_it_does_not_see() -> None:
    asked = Asked(user(document(MIXED)), rules=BLIND)
    told = asked.messages[0]["content"]
    assert "[page 2 of 5]\n(no text on this page)\n\n[page 3 of 5]\n(empty page)" in told
    assert told.endswith("[some pages without text are not shown: this model takes no images]\n</document>")
    asked = Asked(user(document(pdf(None))), rules=BLIND)
    assert "1 page(s) and no text: it is probably scanned, and this model takes no images]" in str(asked.messages)


def test_without_the_extra_the_report_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "can_render", lambda: False)
    asked = Asked(user(document(MIXED)))
    assert "pip install 'latimer[pdf]'" in asked.messages[0]["content"]
    assert any("pip install 'latimer[pdf]'" in reason for reason in why(asked))
    assert "[document left out" in Asked(user(document(pdf(None)))).messages[0]["content"]


@pytest.mark.parametrize("rules", [profile(), BLIND, FILES], ids=["text", "blind", "files"])
@pytest.mark.parametrize(
    "data", [b"no pdf", encrypted(pdf("x"), "hunter2"), pdf("cut")[:150], pdf()], ids=["junk", "locked", "cut", "none"]
)
@pytest.mark.filterwarnings("ignore")
def test_what_nobody_can_read_never_fails_a_request(rules: Any, data: bytes) -> None:
    asked = Asked(user(document(data), text("?")), rules=rules)
    assert re.match(r"<document>\n\[document left out: the PDF .+\]\n</document>\n\n\?$", asked.messages[0]["content"])
    assert asked.lost == {"messages.0.content.0"}


def test_a_scan_goes_as_it_is_to_those_who_take_files() -> None:
    asked = Asked(user(document(pdf(None))), rules=FILES)
    assert [part["type"] for part in asked.messages[0]["content"]] == ["file"]
    assert not asked.losses


def test_one_document_does_not_take_all_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_PAGE_IMAGES", 2)
    monkeypatch.setattr(media, "MAX_RENDERED", 3)
    said = [user(document(pdf(None, None, None)), text(f"{number}")) for number in range(3)]
    asked = Asked(*said)
    counts = [shape(message["content"]).count("<image>") for message in asked.messages]
    assert counts[:2] == [2, 1]
    assert "no text: it is probably scanned, and at most 2 of a document and 3 of a" in str(asked.messages[2])
    before = Asked(*said[:2])
    assert asked.messages[:2] == before.messages, "what is said later changes nothing before"


def test_pages_that_fail_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "page_images", lambda data, places: {})
    assert "[some pages without text are not shown: they cannot be rendered]" in str(
        Asked(user(document(MIXED))).messages
    )


def test_the_same_document_is_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Asked(user(document(MIXED))).raw
    monkeypatch.setattr(rendering, "_render", lambda raw, places: pytest.fail("rendered again"))
    assert Asked(user(document(MIXED))).raw == first


@pytest.mark.parametrize("kind", ["image/jpeg", "image/jpg", "application/octet-stream"])
def test_an_image_goes_by_what_it_is(kind: str) -> None:
    asked = Asked(user(image(kind=kind)))
    assert asked.messages[0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert asked.lost == {"messages.0.content.0.source.media_type"}


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (b"BM12345678", "image/bmp", "image/bmp images are not carried"),
        (b"<svg/>", "image/svg+xml", "svg"),
        (b"", "image/png", "the image is empty"),
    ],
)
def test_other_kinds_of_images_are_told(data: bytes, kind: str, reason: str) -> None:
    source = {"type": "base64", "media_type": kind, "data": coded(data)}
    asked = Asked(user({"type": "image", "source": source}, text("?")))
    assert asked.messages[0]["content"].startswith("[image left out: ")
    assert reason in asked.messages[0]["content"]
    assert asked.lost == {"messages.0.content.0"}


def test_a_file_of_anthropics_is_no_error_where_no_image_is_taken() -> None:
    asked = Asked(user({"type": "image", "source": {"type": "file", "file_id": "f"}}), rules=BLIND)
    assert asked.messages[0]["content"] == UNSEEN


LARGE = png(8001, 1)


@pytest.mark.parametrize(
    ("data", "asked", "lost"),
    [
        (png(), "error", "the image is within the limit"),
        (png(), "downsize", "the image is within the limit"),
        (LARGE, "downsize", "images are sent as they are"),
    ],
)
def test_oversized_images(data: bytes, asked: str, lost: str) -> None:
    said = Asked(user(image(data, transformations={"oversized_image": asked})))
    assert said.messages[0]["content"][0]["type"] == "image_url"
    assert why(said) == {lost}


def test_oversized_images_are_refused_on_request() -> None:
    large = image(LARGE, transformations={"oversized_image": "error"})
    with pytest.raises(Rejection, match=r"^messages\.0\.content\.0: ") as caught:
        Asked(user(large, image()), assistant(call("toolu_A")), user(result("toolu_A", [text("x"), large])))
    assert caught.value.failure.details == {
        "error_code": "image_dimensions_too_large",
        "max_side_length_pixels": 8000,
        "paths": ["messages.0.content.0", "messages.2.content.0.content.1"],
    }


def test_the_size_of_a_url_is_not_known() -> None:
    url = {"type": "image", "source": {"type": "url", "url": "https://a.invalid/x.png"}}
    asked = Asked(user({**url, "transformations": {"oversized_image": "error"}}))
    assert asked.lost == {"messages.0.content.0.transformations"}


def test_a_description_stands_for_the_image_at_any_depth() -> None:
    content = {"type": "document", "source": {"type": "content", "content": [text("see"), image()]}}
    said = [user(image(), content), assistant(call("toolu_A")), user(result("toolu_A", [image(), content]))]
    outgoing = described(*said, known=lambda _: Description("a red square", "mill/eyes"))
    words = json.dumps(json.loads(outgoing.body)["messages"])
    assert words.count("a red square") == 4
    assert words.count('<image_description by=\\"mill/eyes\\">') == 4
    assert not outgoing.unseen
    assert {loss.why for loss in outgoing.losses} == {"the model takes no images, so mill/eyes describes it"}


def test_what_is_not_known_yet_is_asked_for() -> None:
    outgoing = described(user(image(), image(), image(png(4, 4))), known=lambda _: None)
    assert [picture.media_type for picture in outgoing.unseen.values()] == ["image/png"] * 2
    assert json.loads(outgoing.body)["messages"][0]["content"].count(UNSEEN) == 3


def test_what_could_not_be_described_is_told() -> None:
    outgoing = described(user(image()), known=lambda _: Description("", "mill/eyes", "timeout_error"))
    assert json.loads(outgoing.body)["messages"][0]["content"] == UNDESCRIBED
    assert outgoing.losses[0].why == "the model takes no images, and none describes it: timeout_error"


def test_scanned_pages_are_described_too() -> None:
    outgoing = described(user(document(pdf("one", None))), known=lambda _: Description("a blue square", "mill/eyes"))
    assert json.loads(outgoing.body)["messages"][0]["content"] == (
        '<document>\n[page 1 of 2]\none\n\n[page 2 of 2]\n<image_description by="mill/eyes">\na blue square\n'
        "</image_description>\n</document>"
    )


def test_a_model_that_sees_needs_no_description() -> None:
    outgoing = described(user(image()), known=lambda _: pytest.fail("asked"), rules=profile())
    assert not outgoing.unseen


def test_a_provider_that_fetches_no_images() -> None:
    url = {"type": "image", "source": {"type": "url", "url": "https://a.invalid/x.png"}}
    asked = Asked(user(url), rules=profile(media={"image_urls": False}))
    assert "image_url" not in str(asked.messages)
    assert asked.lost == {"messages.0.content.0"}
    assert Asked(user(url)).messages[0]["content"][0]["image_url"]["url"] == "https://a.invalid/x.png"
