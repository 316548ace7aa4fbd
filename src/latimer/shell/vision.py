"""Descriptions of images for models that see none, by a model that the user names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from msgspec import json

from latimer.errors import Rejection
from latimer.images import Description, Known, Picture
from latimer.memory import Memory
from latimer.policy.vision import Vision
from latimer.wire.messages import Message, OutputBlock

log = logging.getLogger(__name__)

REMEMBERED_BYTES = 16 * 1024 * 1024
"""Some thousands of descriptions: a conversation begins with the same words on every turn."""
AT_ONCE = 4
FAILURE_SECONDS = 60.0
"""How long a model that failed is not asked about the same picture, so that turns do not all wait for it."""

Ask = Callable[[bytes], Awaitable[bytes]]
"""A Messages request in, the message out; raises `Rejection`."""


class Describer:
    """Asks each picture once, whoever sends it and however often."""

    def __init__(self, rules: Vision, ask: Ask) -> None:
        self._rules = rules
        self._ask = ask
        self._memory: Memory[Description] = Memory(REMEMBERED_BYTES, lambda known: 300 + 4 * len(known.text))
        self._failed: dict[str, tuple[float, Description]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._free = asyncio.Semaphore(AT_ONCE)

    @property
    def known(self) -> Known | None:
        """What has been described so far; None when nobody is there to describe."""
        return self._memory.get if self._rules.describe_with else None

    async def describe(self, wanted: Mapping[str, Picture]) -> Known:
        """Have these pictures described; what cannot be has a description that says why."""
        why = f"more than {self._rules.max_images} images of this request have no description yet"
        found = {name: self._failure(why) for name in wanted}
        async with asyncio.TaskGroup() as group:
            newest = list(wanted.items())[-self._rules.max_images :]
            tasks = {name: group.create_task(self._describe(name, picture)) for name, picture in newest}
        found |= {name: task.result() for name, task in tasks.items()}
        # What was forgotten meanwhile would be looked for again and again.
        return lambda name: found.get(name) or self._memory.get(name)

    async def _describe(self, name: str, picture: Picture) -> Description:
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock, self._free:
            known = self._memory.get(name) or self._failure_of(name)
            if known is None:
                known = await self._described(picture)
                if known.text:
                    self._memory.put(name, known)
                else:
                    log.warning("%s described no image: %s", self._rules.describe_with, known.why)
                    self._failed[name] = (asyncio.get_running_loop().time() + FAILURE_SECONDS, known)
            return known

    async def _described(self, picture: Picture) -> Description:
        try:
            async with asyncio.timeout(self._rules.timeout_seconds):
                message = json.decode(await self._ask(question(self._rules, picture)), type=Message)
        except Rejection as rejection:
            return self._failure(rejection.failure.type)
        except TimeoutError:
            return self._failure(f"no answer in {self._rules.timeout_seconds:g} s")
        blocks = [json.decode(raw, type=OutputBlock) for raw in message.content]
        text = "".join(block.text for block in blocks if block.type == "text").strip()
        if text and message.stop_reason == "max_tokens":
            text += "\n[the description is cut off here]"
        return Description(text, self._rules.describe_with) if text else self._failure("an empty answer")

    def _failure(self, why: str) -> Description:
        return Description("", self._rules.describe_with, why)

    def _failure_of(self, name: str) -> Description | None:
        now = asyncio.get_running_loop().time()
        self._failed = {key: kept for key, kept in self._failed.items() if kept[0] > now}
        return self._failed[name][1] if name in self._failed else None


def question(rules: Vision, picture: Picture) -> bytes:
    """The request that asks for a description."""
    source: dict[str, Any] = {"type": "url", "url": picture.url}
    if not picture.url:
        source = {"type": "base64", "media_type": picture.media_type, "data": picture.data}
    content = [{"type": "image", "source": source}, {"type": "text", "text": rules.prompt}]
    body = {"model": rules.describe_with, "max_tokens": rules.max_tokens}
    return json.encode({**body, "messages": [{"role": "user", "content": content}]})
