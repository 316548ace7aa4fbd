"""The questions of a probe: requests in each dialect, as small as they can be, and what is kept of the answers."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from latimer.profile import Dialect

Answer = Literal["yes", "no", "unclear", "not asked"]
Body = dict[str, Any]

SMALL = 16
"""Tokens of an answer of which only matters whether there is one. OpenAI's Responses takes no fewer."""
ROOM = 64
"""Tokens of an answer that has to show something."""
ROOM_TO_THINK = 256
"""The same of a model that thinks before it answers."""
HUGE = 100_000_000
"""More tokens than any model gives: the refusal names the limit."""
ODD_WORD = "latimer"
"""A word that no field knows: the refusal lists those it does."""

SAY_OK = "Reply with the word OK."
CALL_TOOL = "What is the weather in Paris? Call the tool get_weather to find out."
CALL_TWICE = "Call the tool get_weather twice in this one turn: once for Paris and once for Rome."
COUNT = "Count from one to seven in words, with blanks between them: one two three"
LOOK = "Which colour is this image? Answer with one word."
LONG_TEXT = " ".join(f"Item {number} of this list is blue." for number in range(220))
"""About 2,000 tokens: providers begin to cache at 1,024."""

TOOL_NAME = "get_weather"
TOOL_TEXT = "Tells the weather in a city."
CITY: Body = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT_TOOL: Body = {"type": "function", "function": {"name": TOOL_NAME, "description": TOOL_TEXT, "parameters": CITY}}
RESPONSES_TOOL: Body = {
    "type": "function",
    "name": TOOL_NAME,
    "description": TOOL_TEXT,
    "parameters": CITY,
    "strict": False,  # OpenAI's types require it
}
MESSAGES_TOOL: Body = {"name": TOOL_NAME, "description": TOOL_TEXT, "input_schema": CITY}
NAMED: Body = {"type": "function", "function": {"name": TOOL_NAME}}

LONG_ID = "call_" + "a1B2" * 8 + "xyz"
"""40 characters, the most that OpenAI takes."""
SHORT_ID = "a1B2c3D4e"
"""Nine letters and digits: the only form that Mistral takes."""
LONG_NAME = "mcp__latimer_probe__" + "a" * 44
"""64 characters, the most that Claude Code's tools have."""

ANSWER_FORM: Body = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
    "additionalProperties": False,
}
JSON_SCHEMA: Body = {"type": "json_schema", "json_schema": {"name": "answer", "schema": ANSWER_FORM, "strict": True}}
JSON_OBJECT: Body = {"type": "json_object"}
SAY_JSON = 'Answer in JSON with the word OK: {"word": "OK"}'

RED_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAS0lEQVR42u3PQQkAAAgAsetfWiP4FgYrsKZeS0BAQEBAQEBAQEBA"
    "QEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEDgsqnc8OJg6Ln3AAAAAElFTkSuQmCC"
)
"""64 by 64 red pixels."""
IMAGE: Body = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{RED_PNG}"}}

INPUT_EACH = 400
"""Tokens that one question takes at most, an image's included; those about caching take more."""
INPUT_CACHING = 3000


class Question(Struct, frozen=True):
    """One request. `path` stands behind the dialect's own. `glance`: only whether it is taken matters, so its answer
    is let go at its first bytes."""

    about: str
    dialect: Dialect
    body: Body
    path: str = ""
    glance: bool = False


class Result(Struct, frozen=True):
    """What is known of one capability, and from which requests."""

    capability: str
    answer: Answer
    evidence: str
    requests: tuple[int, ...] = ()


def user(content: Any) -> Body:
    """A message of the user's."""
    return {"role": "user", "content": content}


def system(text: str, role: str = "system") -> Body:
    """Instructions."""
    return {"role": role, "content": text}


def assistant(text: str) -> Body:
    """An earlier answer."""
    return {"role": "assistant", "content": text}


def tool_turn(call_id: str, result: Any, **fields: Any) -> list[Body]:
    """A conversation in which a tool was called and has answered; `fields` go into the assistant's message."""
    call = {"id": call_id, "type": "function", "function": {"name": TOOL_NAME, "arguments": '{"city":"Paris"}'}}
    return [
        user(CALL_TOOL),
        {"role": "assistant", "content": None, "tool_calls": [call], **fields},
        {"role": "tool", "tool_call_id": call_id, "content": result},
    ]
