"""Pages as images: what they show, their limits, and that they are the same each time."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import pypdfium2
import pytest
from PIL import Image

from latimer import rendering
from latimer.images import dimensions
from latimer.memory import Memory
from latimer.rendering import MAX_SIDE, page_images
from tests.scenarios.files import coded, encrypted, pdf


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_REMEMBERED", Memory(2**20, len))


def opened(image: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(image)))


def test_a_page_is_shown_as_it_is() -> None:
    image = opened(page_images(coded(pdf(None)), [0])[0])
    assert image.format == "JPEG"
    assert image.size == (80, 80), "two pixels per point"
    pixel = image.getpixel((40, 40))
    assert isinstance(pixel, tuple)
    assert all(abs(is_ - should) < 6 for is_, should in zip(pixel, (51, 102, 204), strict=True))


def test_a_large_page_is_scaled_down() -> None:
    size = dimensions(page_images(coded(pdf("a letter")), [0])[0])
    assert size is not None
    assert max(size) == MAX_SIDE
    poster = pdf(None).replace(b"0 0 40 40]", b"0 0 9000 40]", 1)
    size = dimensions(page_images(coded(poster), [0])[0])
    assert size is not None
    assert max(size) <= MAX_SIDE + 1


def test_the_same_bytes_with_and_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    data = coded(pdf(None, "text", None))
    first = page_images(data, [0, 2])
    assert sorted(first) == [0, 2]
    monkeypatch.setattr(rendering, "_render", lambda raw, places: {})
    assert page_images(data, [0, 2]) == first
    monkeypatch.undo()
    monkeypatch.setattr(rendering, "_REMEMBERED", Memory(0, len))
    assert page_images(data, [2, 0]) == first


def test_what_cannot_be_rendered_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert page_images(coded(b"junk"), [0]) == {}
    assert page_images(coded(encrypted(pdf(None), "hunter2")), [0]) == {}
    assert sorted(page_images(coded(pdf(None, None)), [0, 1, 7])) == [0, 1]
    data = coded(pdf(None, "x", None))
    render = pypdfium2.PdfPage.render

    def stumbling(page: pypdfium2.PdfPage, **options: float) -> object:
        if page.get_width() > 40:
            raise pypdfium2.PdfiumError("out of memory")
        return render(page, **options)

    monkeypatch.setattr(pypdfium2.PdfPage, "render", stumbling)
    assert sorted(page_images(data, [0, 1, 2])) == [0, 2]


def test_threads_take_turns() -> None:
    documents = [coded(pdf(*[None] * (1 + number % 3))) for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda data: page_images(data, [0]), documents))
    assert len({image[0] for image in found}) == 1


def test_whether_the_extra_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rendering.can_render()
    monkeypatch.setattr(rendering, "find_spec", lambda name: None if name == "PIL" else object())
    assert not rendering.can_render()
