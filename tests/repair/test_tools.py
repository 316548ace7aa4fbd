"""Advertised tools by either of their names; nothing is read before it is needed."""

from msgspec import Raw

from latimer.repair.tools import Tools
from latimer.wire.messages import Tool


def test_names_and_parameters() -> None:
    asked: list[int] = []

    def load() -> list[Tool]:
        asked.append(1)
        return [Tool(name="a.b", input_schema=Raw(b'{"required":["x"]}')), Tool(name="c")]

    tools = Tools(load, lambda name: name.replace(".", "_"))
    assert asked == []
    assert [tools.name(name) for name in ("a.b", "a_b", "c", "d")] == ["a.b", "a.b", "c", None]
    assert (tools.any_begins("a_"), tools.any_begins("z")) == (True, False)
    assert tools.parameters("a.b").required == ["x"]
    assert tools.parameters("unknown").required == []
    assert asked == [1]
