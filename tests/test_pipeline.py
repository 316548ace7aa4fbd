"""Which stages there are for a request."""

import json
from typing import Any

from latimer.dialects.messages.request import Request, decode_request
from latimer.pipeline import answer_stages, may_call
from latimer.profile import Profile, ToolRules

BASH = {"name": "Bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}
ALL = ["WrittenCalls", "OneCall", "Arguments", "StopSequences"]


def request(**fields: Any) -> Request:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    return decode_request(json.dumps(body).encode())


def names(asked: Request, rules: ToolRules | None = None) -> list[str]:
    profile = Profile(tools=rules or ToolRules())
    stages = answer_stages(asked, profile, route="p/m", message_id="msg", input_estimate=1)
    return [type(stage).__name__ for stage in stages]


def test_stages_and_their_order() -> None:
    one = {"type": "auto", "disable_parallel_tool_use": True}
    asked = request(tools=[BASH], tool_choice=one, stop_sequences=["END"])
    assert names(asked) == ALL
    assert names(asked, ToolRules(recover_text=False, repair_arguments=False)) == ["OneCall", "StopSequences"]


def test_text_is_text_where_no_tool_may_be_called() -> None:
    assert names(request()) == ["Arguments"]
    assert names(request(tools=[BASH], tool_choice={"type": "none"})) == ["Arguments"]
    assert not may_call(request())
