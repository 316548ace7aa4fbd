"""Kinds and sizes of images, read from their first bytes."""

import io

import pytest
from PIL import Image

from latimer.images import Description, Picture, Sight, dimensions, media_type
from tests.scenarios.files import coded, png


def made(kind: str, **options: object) -> str:
    out = io.BytesIO()
    Image.new("RGB", (300, 200), (1, 2, 3)).save(out, kind, **options)
    return coded(out.getvalue())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("GIF", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
    ],
    ids=str,
)
def test_kinds_and_sizes(kind: str, options: dict[str, object]) -> None:
    data = made(kind, **options)
    assert media_type("image/whatever", data) == f"image/{kind.lower()}"
    assert dimensions(data) == (300, 200)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_any_beginning_of_an_image_can_be_looked_at(kind: str) -> None:
    data = made(kind)
    for end in range(0, min(len(data), 400), 4):
        dimensions(data[:end])


def test_a_preview_before_the_size_is_passed_over() -> None:
    jpeg = io.BytesIO()
    Image.new("RGB", (30, 20)).save(jpeg, "JPEG", exif=b"Exif\0\0" + b"x" * 9000)
    assert dimensions(coded(jpeg.getvalue())) == (30, 20)


@pytest.mark.parametrize("data", ["", "AAAA", "not base64!", "ü", coded(b"\xff\xd8\xff\xff\xff\xff\xff")])
def test_what_is_no_image_has_no_size(data: str) -> None:
    assert dimensions(data) is None


def test_what_is_not_known_is_what_the_client_says() -> None:
    assert media_type("image/HEIC", coded(b"anything at all")) == "image/heic"
    assert media_type("image/jpg", "") == "image/jpeg"


def test_a_picture_is_looked_for_once() -> None:
    picture = Picture("image/png", coded(png()))
    assert Sight().description(picture) is None
    known = {picture.name: Description("red", "a/b")}
    sight = Sight(known.get)
    assert sight.description(picture) == Description("red", "a/b")
    assert sight.wanted == {}
    other = Picture(url="https://example.invalid/a.png")
    assert sight.description(other) is None
    assert list(sight.wanted.values()) == [other]
