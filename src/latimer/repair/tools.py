"""The tools that this request advertised: whatever is called beyond them was not asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

from latimer.wire.messages import Tool

from .schema import Parameters


class Tools:
    """Advertised tools, by the client's name and by the one the upstream knows. All of it is read when first needed."""

    def __init__(self, load: Callable[[], Iterable[Tool]], spelling: Callable[[str], str] = str) -> None:
        self._load = load
        self._spelling = spelling
        self._parameters: dict[str, Parameters] = {}

    def name(self, written: str) -> str | None:
        """The client's name of the tool, if there is one."""
        return self._names.get(written)

    def any_begins(self, part: str) -> bool:
        """Whether a tool's name begins so."""
        return any(name.startswith(part) for name in self._names)

    def parameters(self, name: str) -> Parameters:
        """What the tool takes; of an unknown tool, anything."""
        if name not in self._parameters:
            self._parameters[name] = Parameters.read(self._schemas.get(name, b"{}"))
        return self._parameters[name]

    @cached_property
    def _schemas(self) -> dict[str, bytes]:
        return {tool.name: bytes(tool.input_schema) for tool in self._load()}

    @cached_property
    def _names(self) -> dict[str, str]:
        return {self._spelling(name): name for name in self._schemas} | {name: name for name in self._schemas}
