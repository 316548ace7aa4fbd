"""A request in Python's words, encoded."""

import json
from typing import Any

from latimer.dialects.chat.request import encode_request
from latimer.dialects.messages.request import OLD_VERSION, Request, decode_request
from latimer.policy.config import Provider
from latimer.policy.profiles import resolve
from latimer.profile import Profile
from latimer.report import Loss

Json = dict[str, Any]
ROUTE = "mill/m"


def profile(**sections: Json) -> Profile:
    """The default profile with some fields changed: `profile(tools={"parallel": False})`."""
    return resolve(Provider("mill", "", rules=sections), "m")


DEFAULT = profile()


def parsed(*messages: Json | str, version: str = OLD_VERSION, **fields: Any) -> Request:
    """A request with these messages; a string is a user's."""
    said = [user(message) if isinstance(message, str) else message for message in messages] or [user("hi")]
    body = {"model": "claude", "max_tokens": 1024, "messages": said, **fields}
    return decode_request(json.dumps(body, separators=(",", ":")).encode(), version)


class Asked:
    """What goes upstream, and what does not."""

    def __init__(self, *messages: Json | str, rules: Profile = DEFAULT, estimate: int = 0, **fields: Any) -> None:
        self.request = parsed(*messages, **fields)
        outgoing = encode_request(self.request, model="m", route=ROUTE, profile=rules, input_estimate=estimate)
        self.raw = outgoing.body
        self.body: Json = json.loads(outgoing.body)
        self.messages: list[Json] = self.body["messages"]
        self.losses: list[Loss] = outgoing.losses

    @property
    def lost(self) -> set[str]:
        """The paths in the report."""
        return {loss.field for loss in self.losses}


def user(*content: Any) -> Json:
    return {"role": "user", "content": _content(content)}


def assistant(*content: Any) -> Json:
    return {"role": "assistant", "content": _content(content)}


def system(*content: Any, **more: Any) -> Json:
    return {"role": "system", "content": _content(content), **more}


def text(words: str, **more: Any) -> Json:
    return {"type": "text", "text": words, **more}


def call(id: str, name: str = "Bash", **input: Any) -> Json:
    return {"type": "tool_use", "id": id, "name": name, "input": input}


def result(id: str, content: Any = "ok", **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def tool(name: str = "Bash", **more: Any) -> Json:
    return {"name": name, "input_schema": {"type": "object", "properties": {}}, **more}


def marked(block: Json) -> Json:
    """The block with Claude Code's cache mark."""
    return {**block, "cache_control": {"type": "ephemeral"}}


def _content(content: tuple[Any, ...]) -> Any:
    return content[0] if len(content) == 1 and isinstance(content[0], str) else list(content)
