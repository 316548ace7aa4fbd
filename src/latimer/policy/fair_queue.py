"""A number of places, and a fair queue before them: sessions take turns, requests of one session keep their order.

A session with many subagents gets one place in its turn, as one that has a single request does.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Literal, TypeVar

Ticket = TypeVar("Ticket")


class FairQueue(Generic[Ticket]):
    """Whoever enters and is let in, or is called by `give_back`, has a place until it is given back."""

    def __init__(self, places: int, most_waiting: int) -> None:
        self._places = places
        self._most_waiting = most_waiting
        self._waiting: dict[str, deque[Ticket]] = {}
        """By session, in the order of their turns."""
        self.taken = 0
        self.waiting = 0

    @property
    def free(self) -> bool:
        """Whether the next to enter is let in at once."""
        return self.taken < self._places

    def enter(self, session: str, ticket: Ticket) -> Literal["in", "waits", "full"]:
        """Take a place, or wait for one; `full` when neither is possible."""
        if self.free:
            self.taken += 1
            return "in"
        if self.waiting >= self._most_waiting:
            return "full"
        self._waiting.setdefault(session, deque()).append(ticket)
        self.waiting += 1
        return "waits"

    def leave(self, session: str, ticket: Ticket) -> None:
        """Wait no longer. A ticket that does not wait changes nothing."""
        line = self._waiting.get(session)
        if line is None or ticket not in line:
            return
        line.remove(ticket)
        self.waiting -= 1
        if not line:
            del self._waiting[session]

    def give_back(self) -> Ticket | None:
        """A place is free again; returns the ticket that has it now, if one waited."""
        if not self._waiting:
            self.taken -= 1
            return None
        session = next(iter(self._waiting))
        line = self._waiting.pop(session)
        ticket = line.popleft()
        self.waiting -= 1
        if line:
            self._waiting[session] = line  # behind all others
        return ticket
