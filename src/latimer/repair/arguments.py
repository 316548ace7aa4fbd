"""The stage that makes the arguments of every tool call one JSON object of the types its schema asks for."""

from __future__ import annotations

from latimer.errors import Failure
from latimer.events import BlockStart, BlockStop, Delta, Event, Finish, ToolCall
from latimer.report import Loss

from .argument_text import ArgumentText
from .malformed import Malformed
from .tools import Tools


class Arguments:
    """Passes arguments on as they come while they are well-formed, mends them when they are not, or fails the answer.

    A call that is malformed or incomplete when it ends is decided on at the end of the answer: only there is it known
    whether the length limit cut it off. What comes after it waits till then.
    """

    def __init__(self, tools: Tools, route: str) -> None:
        self.done = False
        self.repairs: list[Loss] = []
        self._tools = tools
        self._route = route
        self._start: BlockStart | None = None
        self._name = ""
        self._text: ArgumentText | None = None
        self._undecided: BlockStop | None = None
        self._waiting: list[Event] = []
        self._ending = False

    @property
    def idle(self) -> bool:
        """Whether no call is open."""
        return self._text is None and self._undecided is None and not self.done

    def pass_on(self, event: Event) -> list[Event]:
        """The events that take this one's place."""
        if self._start is None and self._text is not None and self._undecided is None and isinstance(event, Delta):
            out = self._text.feed(event.data)  # nearly always: more of a call that has begun
            return [event] if out == event.data else self._say(event.index, out)
        if self.done:
            return []
        if self._undecided is not None:
            return self._wait(event)
        match event:
            case BlockStart(block=ToolCall(name=name)):
                self._start, self._name = event, name
                self._text = ArgumentText(self._tools.parameters(name))
                return []
            case Delta(index=index, data=data) if self._text is not None:
                return self._say(index, self._text.feed(data))
            case BlockStop() if self._text is not None:
                if self._text.whole or self._ending:
                    return self._settle(event)
                self._undecided = event
                return []
            case _:
                return [event]

    def _say(self, index: int, data: str) -> list[Event]:
        """The call's beginning goes out with the first of its arguments: until then the request can be tried again."""
        if not data:
            return []
        begun: list[Event] = [self._start] if self._start else []
        self._start = None
        return [*begun, Delta(index, data)]

    def _settle(self, stop: BlockStop) -> list[Event]:
        text, self._text = self._text, None
        assert text is not None
        try:
            out = text.finish()
        except Malformed as error:
            self.done = True
            why = f"{self._route}: malformed arguments for tool {self._name!r}: {error}"
            return [Failure("api_error", why)]
        self.repairs += [Loss(f"content.{stop.index}.input", "emulated", kind) for kind in text.kinds]
        return [*self._say(stop.index, out), stop]

    def _wait(self, event: Event) -> list[Event]:
        self._waiting.append(event)
        if isinstance(event, Failure):
            return [event]
        if not isinstance(event, Finish):
            return []
        stop, self._undecided = self._undecided, None
        assert stop is not None
        waiting, self._waiting = self._waiting, []
        if event.reason in ("stop", "tool_call"):
            self._ending = True
            return [*self._settle(stop), *(out for each in waiting for out in self.pass_on(each))]
        assert self._text is not None
        rest = self._say(stop.index, self._text.rest())
        self.repairs += [Loss(f"content.{stop.index}.input", "dropped", kind) for kind in self._text.kinds]
        begun: list[Event] = [self._start] if self._start else []
        self._text = self._start = None
        return [*begun, *rest, stop, *(out for each in waiting for out in self.pass_on(each))]
