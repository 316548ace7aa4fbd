"""Reasoning items: sealed when they arrive, exact when they go back.

https://platform.openai.com/docs/guides/reasoning: with `store: false` the model's reasoning comes as
`encrypted_content`, which has to come back with the items that follow it.
"""

from __future__ import annotations

from typing import Any, Literal

from latimer.dialects.sealing import Sealed, route_mark


def sealed_item(
    route: str, item_id: str, encrypted: str, *, summary: list[str], content: list[str], shown: str
) -> Sealed:
    """What a thinking block's signature holds of a finished reasoning item.

    `summary` and `content` are the texts of the item's lists, `shown` is the text that the client gets to see: what it
    will send back anyway is not sealed.
    """
    mark = route_mark(route)
    if summary == [shown]:
        return Sealed(mark, "summary", id=item_id, encrypted=encrypted, content=content or None)
    if content == [shown]:
        return Sealed(mark, "content", id=item_id, encrypted=encrypted, summary=summary or None)
    return Sealed(mark, "summary", id=item_id, encrypted=encrypted, summary=summary, content=content or None)


def reasoning_item(sealed: Sealed, shown: str, item_ids: Literal["unencrypted", "always", "never"]) -> dict[str, Any]:
    """The item as it came. `shown` is the text of the thinking block, `item_ids` is `ReasoningRules.item_ids`.

    An encrypted item goes without its id: with `store: false` OpenAI looks for it in vain, and it pairs items by their
    ids, while Claude Code moves text before tool calls. Servers that encrypt nothing store nothing either.
    """
    summary, content = sealed.summary or [], sealed.content or []
    if sealed.field == "summary" and sealed.summary is None:
        summary = [shown]
    elif sealed.field == "content" and sealed.content is None:
        content = [shown]
    item: dict[str, Any] = {"type": "reasoning"}
    if sealed.id and (item_ids == "always" or (item_ids == "unencrypted" and not sealed.encrypted)):
        item["id"] = sealed.id
    item["summary"] = [{"type": "summary_text", "text": text} for text in summary]
    if content:
        # xAI refuses a null here, and an empty list says nothing.
        item["content"] = [{"type": "reasoning_text", "text": text} for text in content]
    if sealed.encrypted:
        item["encrypted_content"] = sealed.encrypted
    return item
