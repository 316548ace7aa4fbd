"""Which dialects are found, and how each does with tools."""

import pytest

from latimer.policy.probing.answers import Called, Reply
from latimer.policy.probing.endpoints import weigh_tools
from latimer.policy.probing.talk import Standing
from latimer.profile import EndpointRules, Profile
from tests.policy.probing.imitation import Imitation, answers, refusal

ALL = ("chat", "responses", "messages")


def test_all_dialects() -> None:
    found = Imitation(dialects=ALL).probe()
    said = answers(found)
    assert {said[name] for name in ("Chat Completions", "Responses", "Messages", "count_tokens")} == {"yes"}
    assert said["tools in Responses"] == said["tools in Messages"] == "yes"
    assert found.overlay["endpoint"] == {"count_tokens": True, "dialect": "messages"}


def test_tools_that_only_one_dialect_takes() -> None:
    """OpenAI's newest models take tools with reasoning in Responses only."""
    refused = refusal("Function tools are not supported here. Use /v1/responses.")
    upstream = Imitation(dialects=ALL, refused={"chat": refused, "messages": refused})
    assert upstream.probe().dialect == "responses"


def test_reasoning_that_only_responses_carries() -> None:
    assert Imitation(dialects=("chat", "responses"), reasoning="reasoning_content").probe().dialect == "responses"
    assert Imitation(dialects=("chat", "responses")).probe().dialect == "chat"


@pytest.mark.parametrize("only", ["responses", "messages"])
def test_an_upstream_without_chat_completions(only: str) -> None:
    upstream = Imitation(dialects=(only,))
    found = upstream.probe()
    assert found.dialect == only
    assert found.overlay["endpoint"]["dialect"] == only
    assert not [question for question in upstream.asked[1:] if question.dialect == "chat"]


def test_what_was_missing_once_and_is_there_now() -> None:
    profile = Profile(endpoint=EndpointRules(missing=frozenset({"messages"})))
    assert Imitation(dialects=ALL).probe(profile).overlay["endpoint"]["missing"] == []


@pytest.mark.parametrize(
    ("reply", "tools", "streams"),
    [
        (Reply(1, 200, calls=(Called("c", "f", '{"a": 1}'),), complete=True), True, True),
        (Reply(1, 200, complete=True), True, True),
        (Reply(1, 200), True, False),
        (Reply(1, 200, calls=(Called("c", "f", '{"a": '),), complete=True), True, False),
        (Reply(1, 400), False, False),
        (Reply(1, 503), None, None),
        (Reply(), None, None),
    ],
)
def test_what_a_request_with_tools_says(reply: Reply, tools: bool | None, streams: bool | None) -> None:
    standing = Standing(works=True)
    weigh_tools(standing, reply)
    assert (standing.tools, standing.streams) == (tools, streams)
