"""The items of an answer while they are being read: which one an event is about, and what of it was heard.

The reference names items by `item_id` and `output_index`. Servers leave out either, repeat one index for all items, or
give one item another id in every event, and some never say that an item was added or is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from latimer.dialects.segments import Segment
from latimer.wire import responses as wire

ItemKind = Literal["message", "reasoning", "function_call", "custom_tool_call"]
PartName = Literal["text", "refusal", "summary", "content", "arguments", "input"]
KINDS: tuple[ItemKind, ...] = ("message", "reasoning", "function_call", "custom_tool_call")


class Item:
    """One item of the output. `segment` is where its words go now; `shown` which of a reasoning item's two lists is."""

    __slots__ = (
        "_heard",
        "call_id",
        "done",
        "encrypted",
        "id",
        "index",
        "kind",
        "sealed",
        "segment",
        "shown",
        "thoughts",
    )

    def __init__(self, kind: ItemKind) -> None:
        self.kind = kind
        self.id = ""
        self.call_id = ""
        self.index: int | None = None
        self.done = self.sealed = False
        self.segment: Segment | None = None
        self.shown: PartName | None = None
        self.encrypted = ""
        self.thoughts: list[str] = []
        """Reasoning that stood in a message, between tags."""
        self._heard: dict[tuple[PartName, int], list[str]] = {}

    def hear(self, name: PartName, place: int, text: str) -> bool:
        """Note more of a part; whether it is the part's first."""
        heard = self._heard.get((name, place))
        if heard is None:
            self._heard[name, place] = [text]
            return True
        heard.append(text)
        return False

    def missing(self, name: PartName, place: int, full: str) -> str:
        """What of a part was not heard yet. Where something else was, that stands."""
        heard = "".join(self._heard.get((name, place), ()))
        return full.removeprefix(heard) if full.startswith(heard) else ""

    def texts(self, name: PartName) -> list[str]:
        """All that was heard under a name, by place."""
        return ["".join(self._heard[key]) for key in sorted(self._heard) if key[0] == name]


class Items:
    """All items so far, in the order they were first heard of."""

    def __init__(self) -> None:
        self._all: list[Item] = []
        self._by_id: dict[tuple[ItemKind, str], Item] = {}

    def __iter__(self) -> Iterator[Item]:
        return iter(self._all)

    def added(self, kind: ItemKind, given: wire.Item, index: int | None) -> Item:
        """The item of an `output_item.added`: a new one, unless it is said twice."""
        known = self._known(kind, given.id, given.call_id)
        item = known if known and not known.done else self._new(kind, index)
        return self._learn(item, given)

    def of(self, kind: ItemKind, event: wire.StreamEvent) -> Item:
        """The item that a delta belongs to; a new one where nothing was said of it before."""
        known = self._known(kind, event.item_id)
        if known is not None:
            return known
        item = self._growing(kind, event.output_index, has_id=bool(event.item_id)) or self._new(
            kind, event.output_index
        )
        if event.item_id:
            self._by_id[kind, event.item_id] = item
            item.id = item.id or event.item_id
        return item

    def finished(self, kind: ItemKind, given: wire.Item, index: int | None) -> Item:
        """The item of an `output_item.done`; a new one where it is all that comes of it."""
        known = self._known(kind, given.id, given.call_id)
        if known is None:
            known = self._growing(kind, index, has_id=bool(given.id or given.call_id))
        if known is None or _differs(known.call_id, given.call_id) or _is_another(known, index):
            known = self._new(kind, index)
        return self._learn(known, given)

    def match(self, output: list[wire.Item]) -> list[tuple[Item | None, wire.Item]]:
        """The whole output, each item with the one that it was in the stream: by its ids, else by its place among
        those of its kind that have no other. None for an item of a type that has no kind here.
        """
        found: list[Item | None] = []
        for given in output:
            kind = kind_of(given)
            known = self._known(kind, given.id, given.call_id) if kind else None
            found.append(None if known in found else known)
        rest = [item for item in self._all if item not in found]
        pairs: list[tuple[Item | None, wire.Item]] = []
        for given, known in zip(output, found, strict=True):
            kind = kind_of(given)
            item = known
            if kind and item is None:
                item = next(
                    (one for one in rest if one.kind == kind and not _differs(one.call_id, given.call_id)), None
                )
                rest = [one for one in rest if one is not item]
                item = item or self._new(kind, None)
            pairs.append((self._learn(item, given) if item else None, given))
        return pairs

    def _known(self, kind: ItemKind, *ids: str | None) -> Item | None:
        return next((item for each in ids if each and (item := self._by_id.get((kind, each)))), None)

    def _growing(self, kind: ItemKind, index: int | None, *, has_id: bool) -> Item | None:
        """The item without an end that an id which nobody knows, or none, may stand for."""
        open_items = [item for item in reversed(self._all) if item.kind == kind and not item.done]
        if index is not None:
            same = next((item for item in open_items if item.index == index), None)
            if same is not None:
                return same
            open_items = [item for item in open_items if item.index is None]
        return next((item for item in open_items if not (has_id and item.id)), None)

    def _new(self, kind: ItemKind, index: int | None) -> Item:
        item = Item(kind)
        item.index = index
        self._all.append(item)
        return item

    def _learn(self, item: Item, given: wire.Item) -> Item:
        item.id = item.id or given.id or ""
        item.call_id = item.call_id or given.call_id or ""
        for each in (given.id, given.call_id):
            if each:
                self._by_id[item.kind, each] = item
        return item


def _differs(known: str, given: str | None) -> bool:
    return bool(known and given and known != given)


def _is_another(item: Item, index: int | None) -> bool:
    """Whether an id is used again for an item at another place."""
    return item.done and index is not None and item.index is not None and index != item.index


def kind_of(given: wire.Item) -> ItemKind | None:
    """What an item is, None for those that no answer of ours should have."""
    return next((kind for kind in KINDS if kind == given.type), None)
