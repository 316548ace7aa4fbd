"""Structured output: which dialects keep to a schema, and what follows where the chosen one does not."""

import pytest

from latimer.profile import Dialect, NativeRules, Profile, RequestRules
from tests.policy.probing.imitation import Imitation, answers, refusal, without

ALL: tuple[Dialect, ...] = ("chat", "responses", "messages")


def test_every_dialect_is_asked() -> None:
    said = answers(Imitation(dialects=ALL).probe())
    assert said["json_schema"] == said["json_schema in Responses"] == said["json_schema in Messages"] == "yes"
    said = answers(Imitation(dialects=ALL, schemas=()).probe())
    assert {said["json_schema"], said["json_schema in Responses"], said["json_schema in Messages"]} == {"unclear"}


@pytest.mark.parametrize("upstream", [Imitation(), Imitation(dialects=("chat", "messages"), refused={})])
def test_no_dialect_is_asked_that_is_not_there(upstream: Imitation) -> None:
    upstream.probe()
    assert {question.dialect for question in upstream.asked if "format" in question.about} <= set(upstream.dialects)


@pytest.mark.parametrize(
    ("schemas", "chosen"),
    [
        (ALL, "messages"),
        (("chat",), "chat"),
        (("responses",), "responses"),
        (("messages",), "messages"),
        ((), "messages"),
    ],
)
def test_a_dialect_that_keeps_the_schema_is_preferred(schemas: tuple[str, ...], chosen: Dialect) -> None:
    assert Imitation(dialects=ALL, schemas=schemas).probe().dialect == chosen


def test_tools_count_more() -> None:
    upstream = Imitation([without("tools")], dialects=ALL, schemas=("chat",))
    assert upstream.probe().dialect == "messages"


def test_messages_takes_one() -> None:
    found = Imitation(dialects=ALL).probe()
    assert found.overlay["native"] == {"output_config": ["format"]}
    assert "native" not in Imitation(dialects=ALL, schemas=("chat",)).probe().overlay


def test_a_preset_that_says_more_than_is_taken() -> None:
    profile = Profile(native=NativeRules(output_config=frozenset({"effort", "format"})))
    refused = Imitation(dialects=ALL, native=[without("output_config")]).probe(profile)
    assert refused.overlay["native"] == {"output_config": ["effort"]}


@pytest.mark.parametrize(
    ("fixed", "overlay"),
    [
        ("responses", {"request": {"json_schema": "prompt"}}),
        ("messages", {"native": {"output_config": []}}),
        ("chat", {}),
    ],
)
def test_one_that_the_user_names_ignores_the_schema(fixed: Dialect, overlay: dict[str, object]) -> None:
    """Then it goes into the prompt, and the report says so."""
    profile = Profile(native=NativeRules(output_config=frozenset({"format"})))
    found = Imitation(dialects=ALL, schemas=("chat",)).probe(profile, fixed=fixed)
    assert found.dialect == fixed
    assert {section: rules for section, rules in found.overlay.items() if section in ("request", "native")} == overlay


@pytest.mark.parametrize("fixed", ["responses", "messages"])
def test_a_model_that_keeps_to_no_schema_anywhere_is_not_judged(fixed: Dialect) -> None:
    profile = Profile(native=NativeRules(output_config=frozenset({"format"})))
    found = Imitation(dialects=ALL, schemas=()).probe(profile, fixed=fixed)
    assert not {"request", "native"} & set(found.overlay)


def test_json_without_a_schema() -> None:
    def rule(body: dict[str, object]) -> tuple[int, dict[str, object]] | None:
        return refusal("Only json_object.") if "json_schema" in str(body.get("response_format")) else None

    found = Imitation([rule]).probe()
    assert answers(found)["json_schema"] == "no"
    assert answers(found)["json_object"] == "yes"
    assert found.overlay["request"] == {"json_schema": "json_object"}
    known = Profile(request=RequestRules(json_schema="prompt"))
    assert "request" not in Imitation([rule]).probe(known).overlay
