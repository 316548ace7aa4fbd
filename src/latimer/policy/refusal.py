"""An answer that is nothing but a refusal, as a failure: another route may answer instead."""

from __future__ import annotations

from latimer.errors import Failure
from latimer.events import BlockStart, Event, Finish


class Refusals:
    """A stage of an answer whose route is not the last. What has been said already cannot be taken back."""

    idle = True

    def __init__(self, route: str) -> None:
        self.done = False
        self._route = route
        self._spoken = False

    def pass_on(self, event: Event) -> list[Event]:
        if isinstance(event, BlockStart):
            self._spoken = True
        if not isinstance(event, Finish) or self._spoken or event.reason != "content_filter":
            return [event]
        why = f": {event.explanation}" if event.explanation else ""
        return [Failure("invalid_request_error", f"{self._route} refused to answer{why}", cause="refusal")]
