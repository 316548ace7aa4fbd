"""What the repairing stages cost per event where there is nothing to repair: `python -m bench.repairs`."""

import time

from msgspec import Raw, json

from latimer.events import Block, BlockStart, BlockStop, Delta, Event, Finish, Start, Text, ToolCall, Usage
from latimer.repair.arguments import Arguments
from latimer.repair.tools import Tools
from latimer.repair.written_calls import WrittenCalls
from latimer.stages import Stage
from latimer.wire.messages import Tool

STRING = {"type": "string"}
SCHEMA = {
    "type": "object",
    "properties": {"file_path": STRING, "content": STRING},
    "required": ["file_path", "content"],
}
TOOLS = Tools(lambda: [Tool(name="Write", input_schema=Raw(json.encode(SCHEMA)))])
FILE = "def f(x):\n    return {'a': [1, 2, x]}  # a comment\n" * 2000
INPUT = {"file_path": "/a/b.py", "content": FILE}
PROSE = "Here is `code` and more.\nThis is a list:\n- a [link](x)\n- b < c\n" * 1500
WRITTEN = f"<tool_call>\n{json.encode({'name': 'Write', 'arguments': INPUT}).decode()}\n</tool_call>"


def events(block: Block, text: str) -> list[Event]:
    """One block in pieces of four characters."""
    deltas = [Delta(0, text[at : at + 4]) for at in range(0, len(text), 4)]
    return [Start("", ""), BlockStart(0, block), *deltas, BlockStop(0), Finish("stop", Usage())]


def microseconds(stage: Stage, answer: list[Event]) -> float:
    """CPU per event."""
    start = time.process_time()
    for event in answer:
        stage.pass_on(event)
    return (time.process_time() - start) / len(answer) * 1e6


def main() -> None:
    call = ToolCall("id", "Write")
    rows: dict[str, tuple[Stage, list[Event]]] = {
        "arguments of a long call": (Arguments(TOOLS, ""), events(call, json.encode(INPUT).decode())),
        "prose": (WrittenCalls(TOOLS, str), events(Text(), PROSE)),
        "a long call written as text": (WrittenCalls(TOOLS, str), events(Text(), WRITTEN)),
    }
    for name, (stage, answer) in rows.items():
        print(f"{microseconds(stage, answer):5.1f} µs  {name}, {len(answer)} events")


if __name__ == "__main__":
    main()
