"""A request in Python's words, encoded for a Responses API."""

import json
from typing import Any

from latimer.dialects.responses.request import encode_request
from latimer.profile import Profile
from latimer.report import Loss
from tests.dialects.chat import asking
from tests.dialects.chat.asking import ROUTE, Json, parsed


def profile(**sections: Json) -> Profile:
    """The default profile of a Responses API with some fields changed."""
    return asking.profile(endpoint={"dialect": "responses"}, **sections)


DEFAULT = profile()


class Asked:
    """What goes upstream, and what does not."""

    def __init__(self, *messages: Json | str, rules: Profile = DEFAULT, estimate: int = 0, **fields: Any) -> None:
        self.request = parsed(*messages, **fields)
        outgoing = encode_request(self.request, model="m", route=ROUTE, profile=rules, input_estimate=estimate)
        self.raw = outgoing.body
        self.body: Json = json.loads(outgoing.body)
        self.input: list[Json] = self.body["input"]
        self.losses: list[Loss] = outgoing.losses

    @property
    def lost(self) -> set[str]:
        """The paths in the report."""
        return {loss.field for loss in self.losses}


def said(*texts: str, role: str = "user") -> Json:
    """An input message."""
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text} for text in texts]}


def answered(text: str) -> Json:
    """An assistant's message."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "role": "assistant", "content": content}


def called(id: str, name: str = "Bash", arguments: str = "{}") -> Json:
    return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}


def output(id: str, content: Any = "ok") -> Json:
    return {"type": "function_call_output", "call_id": id, "output": content}
