"""Images and PDFs: as a model takes them, else in words. Nothing here fails a request for what a file holds: a
conversation sends its files with every turn, so it would be stuck for good."""

from __future__ import annotations

from msgspec import json

from latimer.dialects.context import Context
from latimer.dialects.parts import ImagePart
from latimer.documents import EMPTY_PAGE, NO_TEXT, Pages, UnreadableDocument, pdf_pages
from latimer.errors import Rejection, invalid
from latimer.images import MAX_SIDE, TAKEN, Picture, dimensions, media_type
from latimer.rendering import MAX_PAGE_IMAGES, MEDIA_TYPE, MISSING, can_render, page_images
from latimer.wire import messages as wire

Carried = str | ImagePart
"""What stands for an image or a page: words, or a part."""

MAX_RENDERED = 60
"""Pages shown as images in a whole conversation, its beginning first: some 15 MB, near what providers take at once."""

UNSEEN = (
    "[image left out: this model takes no images. If it matters, tell the user: the setting [vision] describe_with of"
    " Latimer names a model that describes images for this one]"
)
UNFETCHED = "[image left out: the provider takes no images by their URLs]"
UNDESCRIBED = "[image left out: this model takes no images, and the vision model gave no description of it]"


def carried_image(source: wire.ImageSource, path: str, context: Context) -> Carried:
    """An image as a part, in another model's words, or as a mark for what was left out."""
    match source:
        case wire.FileSource() if context.profile.sees:
            raise invalid(f"{path}.source.file_id: this gateway has no Files API; send the file itself as base64")
        case wire.FileSource():
            context.lose(path, "the model takes no images", "approximated")
            return UNSEEN
        case wire.Base64Source(media_type=declared, data=data):
            kind = media_type(declared, data)
            if kind not in TAKEN or not data:
                why = f"{kind} images are not carried, only {', '.join(TAKEN)}" if data else "the image is empty"
                context.lose(path, why, "approximated")
                return f"[image left out: {why}]"
            if kind != declared:
                context.lose(f"{path}.source.media_type", f"the image is {kind}", "approximated")
            picture, url = Picture(kind, data), f"data:{kind};base64,{data}"
        case wire.URLSource() if context.profile.sees and not context.profile.media.image_urls:
            context.lose(path, "the provider takes no images by their URLs", "approximated")
            return UNFETCHED
        case wire.URLSource(url=url):
            picture = Picture(url=url)
    if context.profile.sees:
        return ImagePart(url)
    return _in_words(picture, path, context)


def _in_words(picture: Picture, path: str, context: Context) -> str:
    found = context.sight.description(picture)
    if found is None:
        context.lose(path, "the model takes no images", "approximated")
        return UNSEEN
    if not found.text:
        context.lose(path, f"the model takes no images, and none describes it: {found.why}", "approximated")
        return UNDESCRIBED
    context.lose(path, f"the model takes no images, so {found.by} describes it", "emulated")
    return f"<image_description by={json.encode(found.by).decode()}>\n{found.text}\n</image_description>"


def check_size(block: wire.ImageBlock, path: str, context: Context) -> None:
    """What the client asks for an oversized image. Latimer scales none: providers do, each to its own limit."""
    if not wire.given(block.transformations):
        return
    size = dimensions(block.source.data) if isinstance(block.source, wire.Base64Source) else None
    asked = json.decode(block.transformations)
    refuse = isinstance(asked, dict) and asked.get("oversized_image") == "error"
    if size is None:
        context.lose(f"{path}.transformations", "the image's size is not known here, so it is sent as it is")
    elif max(size) > MAX_SIDE and refuse:
        context.sight.oversized.append(path)
    elif max(size) > MAX_SIDE:
        context.lose(f"{path}.transformations", "images are sent as they are", "approximated")
    else:
        context.lose(f"{path}.transformations", "the image is within the limit", "emulated")


def too_large(paths: list[str]) -> Rejection:
    """The refusal of images over Anthropic's limit, which a client may ask for."""
    return invalid(
        f"{paths[0]}: the image's sides must not exceed {MAX_SIDE} pixels",
        error_code="image_dimensions_too_large",
        max_side_length_pixels=MAX_SIDE,
        paths=paths,
    )


def carried_pdf(data: str, path: str, context: Context) -> list[Carried]:
    """A PDF page by page: its text, and images of the pages that have none. Raises `UnreadableDocument`."""
    pages = pdf_pages(data)
    images, why = _page_images(data, pages, context)
    if not pages.readable and not images:
        reason = f", and {why}" if why else ""
        raise UnreadableDocument(f"the PDF has {pages.total} page(s) and no text: it is probably scanned{reason}")
    if pages.readable:
        context.lose(path, "the PDF is sent as its text", "emulated")
    if images:
        context.lose(path, "pages without text are sent as images", "emulated")
    carried: list[Carried] = []
    words: list[str] = []
    for place, text in enumerate(pages.texts):
        shown: Carried = NO_TEXT if text is None else text or EMPTY_PAGE
        if place in images:
            shown = carried_image(wire.Base64Source(MEDIA_TYPE, images[place]), path, context)
        if isinstance(shown, str):
            words.append(f"{pages.mark(place)}\n{shown}")
        else:
            carried += ["\n\n".join([*words, pages.mark(place)]), shown]
            words = []
    for note in (f"[some pages without text are not shown: {why}]" if why else "", pages.left_out):
        if note:
            context.lose(path, note.strip("[]"), "approximated")
            words.append(note)
    return [*carried, "\n\n".join(words)] if words else carried


def _page_images(data: str, pages: Pages, context: Context) -> tuple[dict[int, str], str]:
    """Images of the pages without text, and why there are not more of them."""
    wanted = pages.pictures
    if not wanted:
        return {}, ""
    if not context.profile.sees and context.sight.known is None:
        return {}, "this model takes no images"
    if not can_render():
        return {}, MISSING
    room = min(MAX_PAGE_IMAGES, MAX_RENDERED - context.sight.rendered)
    images = page_images(data, wanted[:room]) if room > 0 else {}
    context.sight.rendered += len(images)
    if len(wanted) > room:
        limits = f"at most {MAX_PAGE_IMAGES} of a document and {MAX_RENDERED} of a conversation are"
        return images, limits + "; the user can have others read page by page"
    return images, "" if len(images) == len(wanted) else "they cannot be rendered"
