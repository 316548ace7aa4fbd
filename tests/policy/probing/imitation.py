"""An upstream in a function: it answers a probe's questions by rules, so that a whole probe takes milliseconds."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from latimer.policy.probing.answers import Reply, read_reply
from latimer.policy.probing.interview import Found, Interview
from latimer.policy.probing.questions import TOOL_NAME, Question
from latimer.policy.probing.talk import Subject
from latimer.profile import Profile

Json = dict[str, Any]
Refusal = tuple[int, Json]
Rule = Callable[[Json], Refusal | None]

CALL = {"id": "c1", "type": "function", "function": {"name": TOOL_NAME, "arguments": '{"city": "Paris"}'}}
KNOWN = {
    "model", "messages", "max_tokens", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls",
    "response_format", "stop", "reasoning_effort",
}  # fmt: skip


def refusal(message: str, status: int = 400, **fields: Any) -> Refusal:
    return status, {"error": {"message": message, "type": "invalid_request_error", **fields}}


def without(field_name: str, message: str = "Bad request.", status: int = 400) -> Rule:
    """Refuses a field of the top level."""
    return lambda body: refusal(message, status) if field_name in body else None


def strict(*more: str) -> Rule:
    """Refuses every field but the usual ones and `more`."""

    def rule(body: Json) -> Refusal | None:
        unknown = sorted(set(body) - KNOWN - set(more))
        return refusal(f"Unrecognized request argument supplied: {unknown[0]}") if unknown else None

    return rule


@dataclass
class Imitation:
    """`rules` hold in Chat Completions; a `clever` model does what it is asked."""

    rules: list[Rule] = field(default_factory=list)
    native: list[Rule] = field(default_factory=list)
    """The same for Messages."""
    dialects: tuple[str, ...] = ("chat",)
    clever: bool = True
    reasoning: str = ""
    unasked_usage: bool = False
    thinks: Callable[[Json], bool] = lambda body: True
    cached: int = 0
    schemas: tuple[str, ...] = ("chat", "responses", "messages")
    """The dialects that keep to a schema; the others take it and ignore it."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    """By dialect: what is answered to requests with tools."""
    asked: list[Question] = field(default_factory=list)

    def probe(self, profile: Profile | None = None, budget: int = 60, **subject: Any) -> Found:
        """A whole probe."""
        interview = Interview(Subject("m", profile or Profile(), **subject))
        asking = interview.questions()
        reply: Reply | None = None
        while True:
            try:
                question = next(asking) if reply is None else asking.send(reply)
            except StopIteration:
                return interview.found
            reply = self.reply(question) if len(self.asked) < budget else Reply()

    def reply(self, question: Question) -> Reply:
        self.asked.append(question)
        status, body = self.answer(question)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return read_reply(question.dialect, len(self.asked), status, raw)

    def answer(self, question: Question) -> tuple[int, Json | bytes]:
        body = question.body
        if question.dialect not in self.dialects:
            return 404, {"error": {"message": "Not Found"}}
        if question.path:
            assert "max_tokens" not in body
            return 200, {"input_tokens": 9}
        if "tools" in body and question.dialect in self.refused:
            return self.refused[question.dialect]
        if question.dialect == "messages":
            refused = next((broken for rule in self.native if (broken := rule(body))), None)
            return refused or (200, self.messages(body))
        if question.dialect == "responses":
            return 200, self.responses(body)
        found = next((broken for rule in self.rules if (broken := rule(body))), None)
        return found or (200, self.chat(body))

    def chat(self, body: Json) -> Json | bytes:
        message: Json = {"role": "assistant", "content": self.says(body)}
        if self.calls(body):
            message["tool_calls"] = [CALL | {"index": index} for index in range(self.calls(body))]
        if self.reasoning and self.thinks(body):
            message[self.reasoning] = "Hm."
        usage = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": self.cached}}
        if not body.get("stream"):
            return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
        chunks: list[Json] = [{"choices": [{"delta": message, "finish_reason": None}]}]
        chunks += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}]
        if self.unasked_usage or body.get("stream_options"):
            chunks += [{"choices": [], "usage": usage}]
        return b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"

    def calls(self, body: Json) -> int:
        if not self.clever or "tools" not in body or body.get("tool_choice") == "none":
            return 0
        return 2 if "Rome" in str(body["messages"]) else 1

    def says(self, body: Json) -> str:
        if not self.clever:
            return "I am here to help with your data."
        if "image_url" in str(body["messages"]):
            return "Red"
        if "response_format" in body and "chat" in self.schemas:
            return '{"word": "OK"}'
        return "one two three four " if "stop" in body else "OK"

    def formed(self, dialect: str, asked: bool) -> str:
        return '{"word": "OK"}' if asked and self.clever and dialect in self.schemas else "OK"

    def messages(self, body: Json) -> Json | bytes:
        if not body.get("stream"):
            text = {"type": "text", "text": self.formed("messages", "output_config" in body)}
            return {"type": "message", "content": [text], "stop_reason": "end_turn", "usage": {"input_tokens": 5}}
        start = {"type": "tool_use", "id": "t1", "name": TOOL_NAME, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": '{"city": "Paris"}'}
        events: list[Json] = [{"type": "message_start", "message": {"usage": {"input_tokens": 5}}}]
        if self.clever:
            events += [{"type": "content_block_start", "index": 0, "content_block": start}]
            events += [{"type": "content_block_delta", "index": 0, "delta": delta}]
        events += [{"type": "message_delta", "delta": {}, "usage": {"output_tokens": 1}}, {"type": "message_stop"}]
        return b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)

    def responses(self, body: Json) -> Json | bytes:
        call = {"type": "function_call", "call_id": "f1", "name": TOOL_NAME, "arguments": '{"city": "Paris"}'}
        output: list[Json] = [{"type": "reasoning", "summary": []}] if self.reasoning else []
        output += [call] if "tools" in body and self.clever else []
        text = self.formed("responses", "text" in body)
        output += [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
        whole = {"status": "completed", "output": output, "usage": {"input_tokens": 5}}
        if not body.get("stream"):
            return whole
        return b"data: %s\n\n" % json.dumps({"type": "response.completed", "response": whole}).encode()


def answers(found: Found) -> dict[str, str]:
    """Each capability and its answer."""
    return {result.capability: result.answer for result in found.results}
