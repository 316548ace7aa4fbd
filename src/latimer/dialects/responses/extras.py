"""What a Responses answer holds beside its words and calls."""

from __future__ import annotations

from latimer.dialects.asides import IMAGE, Asides
from latimer.wire import responses as wire

IMAGE_ITEM = "image_generation_call"


class Extras(Asides):
    """Seen item by item; each comes in an event of its own and again at the end."""

    def __init__(self) -> None:
        super().__init__()
        self._images: set[str] = set()

    def annotated(self) -> None:
        """Citations: Anthropic's point into results of its own tools."""
        self.drop("output.message.annotations", "citations have no place without Anthropic's search results")

    def transformed(self, transformations: object) -> None:
        """What the provider made of the request, known only when it answers."""
        if transformations:
            self.drop("input_transformations", "the provider left out reasoning that it was given back")

    def of_part(self, part: wire.Part) -> None:
        """What stands beside a part's text."""
        if part.annotations:
            self.annotated()
        if part.logprobs:
            self.drop("output.message.logprobs", "they were not asked for, and Messages has no place for them")

    def of_item(self, given: wire.Item) -> None:
        """What stands beside an item's words."""
        if given.phase:
            self.drop("output.message.phase", "Messages does not tell commentary from the answer")
        if given.type == "custom_tool_call":
            self.lose("output.custom_tool_call.input", "text, given to the tool as the field `input` of an object")

    def of_other(self, given: wire.Item) -> str:
        """Words for an item of another type, '' for most."""
        field = f"output.{given.type}"
        if given.type != IMAGE_ITEM:
            self.drop(field, "an item without a place in Messages")
            return ""
        self.lose(field, "an answer of Messages holds no images")
        new = (given.id or "") not in self._images
        self._images.add(given.id or "")
        return IMAGE if new else ""

    def incomplete(self, word: str, *, known: bool) -> None:
        """Why an answer is not complete, where Messages has no word for it."""
        field = "incomplete_details.reason"
        if not known:
            self.lose(field, f"unknown {word!r}, read as the output limit")
        elif word in ("max_messages", "steered"):
            self.lose(field, f"{word!r}, told as a pause")
