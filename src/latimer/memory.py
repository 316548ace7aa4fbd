"""What is worth keeping between requests, within a limit of bytes."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Memory(Generic[T]):
    """Values by key, the least recently used forgotten first. Safe to use from several threads."""

    def __init__(self, max_bytes: int, size: Callable[[T], int]) -> None:
        self._max_bytes = max_bytes
        self._size = size
        self._bytes = 0
        self._values: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> T | None:
        """What is known under the key."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: str, value: T) -> None:
        """Keep a value; one that is larger than the limit is not kept."""
        with self._lock:
            old = self._values.pop(key, None)
            self._bytes -= 0 if old is None else self._size(old)
            self._values[key] = value
            self._bytes += self._size(value)
            while self._bytes > self._max_bytes:
                _, gone = self._values.popitem(last=False)
                self._bytes -= self._size(gone)


def digest(*texts: str) -> str:
    """A name for contents: the same for the same texts, in every process."""
    hashed = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8))
        hashed.update(data)
    return hashed.hexdigest()
