"""What makes a chain go on, and which failure a client is told of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.errors import STATUS, Failure
from latimer.policy.fallback import USUAL, FallbackRules, Tried, cause_of, most_useful, worth_a_second_try

GONE = Failure("api_error", "p0/m: nothing listens", cause="unreachable")
LIMITED = Failure("rate_limit_error", "p1/m: slow down", retry_after=20.0)
BROKE = Failure("billing_error", "p2/m: no credit", should_retry=False)
BROKEN = Failure("api_error", "p3/m: boom")


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (GONE, "connection"),
        (LIMITED, "rate_limit"),
        (BROKE, "billing"),
        (BROKEN, "server_error"),
        (Failure("overloaded_error", ""), "overloaded"),
        (Failure("timeout_error", ""), "timeout"),
        (Failure("authentication_error", ""), "authentication"),
        (Failure("permission_error", ""), "permission"),
        (Failure("conflict_error", "", should_retry=False), "model"),
        (Failure("conflict_error", ""), None),
        (Failure("invalid_request_error", "", cause="refusal"), "refusal"),
        (Failure("invalid_request_error", "prompt is too long"), None),
        (Failure("request_too_large", ""), None),
        (Failure("not_found_error", ""), None),
    ],
)
def test_causes(failure: Failure, cause: str | None) -> None:
    assert cause_of(failure) == cause


def test_a_wrong_key_a_wrong_model_and_a_refusal_are_not_passed_over_by_default() -> None:
    assert FallbackRules().on == USUAL
    assert USUAL.isdisjoint({"authentication", "permission", "model", "refusal"})


def test_only_a_server_error_is_worth_a_second_try() -> None:
    assert worth_a_second_try(BROKEN, 1)
    assert not worth_a_second_try(BROKEN, 2)
    for failure in (GONE, LIMITED, BROKE, Failure("api_error", "", should_retry=False)):
        assert not worth_a_second_try(failure, 1)


def tried(*failures: Failure) -> list[Tried]:
    return [Tried(failure.message.partition(":")[0], failure) for failure in failures]


def test_one_route_alone_tells_its_own() -> None:
    assert most_useful(tried(BROKE)) == BROKE


def test_the_soonest_is_told_with_all_that_were_tried() -> None:
    soon = Failure("rate_limit_error", "p4/m: in a moment", retry_after=2.2)
    told = most_useful(tried(GONE, LIMITED, soon, BROKE))
    assert (told.type, told.retry_after, told.should_retry) == ("rate_limit_error", 2.2, None)
    assert told.message == (
        "p4/m: in a moment Tried: p0/m (no connection), p1/m (rate limit, again in 20 s),"
        " p4/m (rate limit, again in 3 s), p2/m (no balance or quota)."
    )


def test_what_lasts_is_told_only_when_there_is_nothing_else() -> None:
    assert most_useful(tried(BROKE, GONE)).type == "api_error"
    assert most_useful(tried(GONE, BROKE)).type == "api_error"


failures = st.builds(
    Failure,
    st.sampled_from(list(STATUS)),
    st.text(max_size=4000),
    retry_after=st.none() | st.floats(0, 1e5),
    should_retry=st.sampled_from([None, False]),
)


@given(st.lists(failures, min_size=1, max_size=6))
def test_a_transient_failure_is_never_hidden_and_no_message_too_long(those: list[Failure]) -> None:
    told = most_useful([Tried(f"p{n}/m", one) for n, one in enumerate(those)])
    assert told.transient == any(one.transient for one in those)
    if len(those) > 1:
        assert len(told.message.encode("utf-8", "replace")) <= 2048
        assert f"p{len(those) - 1}/m (" in told.message
