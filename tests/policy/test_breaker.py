"""The circuits: one probe at a time, never stuck, and nothing about a lane said of another."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from latimer.errors import Failure
from latimer.policy.breaker import LONGEST_NAMED_WAIT, MOST_CIRCUITS, Block, Breakers, Lane, Pass
from latimer.policy.fallback import FallbackRules

LANE = Lane("p", "env:A", "m")
OTHER_KEY, OTHER_MODEL, ELSEWHERE = Lane("p", "env:B", "m"), Lane("p", "env:A", "n"), Lane("q", "env:A", "m")
GONE = Failure("api_error", "", cause="unreachable")
BOOM = Failure("api_error", "")
KEY = Failure("authentication_error", "", should_retry=False)
LIMIT = Failure("rate_limit_error", "", retry_after=20.0)
WRONG = Failure("invalid_request_error", "")


def breakers(**rules: Any) -> Breakers:
    return Breakers(
        FallbackRules(**{"open_after": 3, "cooldown_seconds": 10.0, "max_cooldown_seconds": 100.0, **rules})
    )


def fail(those: Breakers, failure: Failure, now: float, lane: Lane = LANE) -> bool:
    return those.failed(those.begin(lane, now), failure, now)


def test_failures_in_a_row_open_it() -> None:
    those = breakers()
    assert [fail(those, BOOM, now) for now in (1, 2, 3)] == [False, False, True]
    block = those.blocked(LANE, 3)
    assert block is not None
    assert (block.cause, block.seconds, block.firm) == ("server_error", 10.0, False)
    assert those.blocked(LANE, 13) is None  # half-open


@pytest.mark.parametrize("between", [None, WRONG])
def test_an_answer_between_them_counts_from_the_start(between: Failure | None) -> None:
    those = breakers()
    fail(those, BOOM, 1)
    fail(those, BOOM, 2)
    out = those.begin(LANE, 3)
    if between:
        those.failed(out, between, 3)
    else:
        those.succeeded(out)
    fail(those, BOOM, 4)
    fail(those, BOOM, 5)
    assert those.blocked(LANE, 5) is None


def test_answers_of_requests_that_were_out_before_count_as_well() -> None:
    """Of many long answers that overlap, hardly one begins after the newest failure and ends before the next."""
    those = breakers()
    out = [those.begin(LANE, 0) for _ in range(400)]
    for number, one in enumerate(out):
        those.heard(one)
        if number % 20 == 0:
            assert not those.failed(one, BOOM, number, others=len(out) - number)
        else:
            those.succeeded(one)
    assert those.blocked(LANE, 400) is None


@pytest.mark.parametrize("failure", [BOOM, GONE])
def test_answers_that_begin_count_where_others_did_not(failure: Failure) -> None:
    those = breakers()
    fail(those, failure, 1)
    fail(those, failure, 2)
    those.heard(those.begin(LANE, 0))
    assert not fail(those, failure, 3)


def test_answers_that_always_break_off_open_it() -> None:
    """That each begins well is no excuse."""
    those = breakers()
    opened = []
    for now in (1, 2, 3):
        out = those.begin(LANE, now)
        those.heard(out)
        opened.append(those.failed(out, BOOM, now))
    assert opened == [False, False, True]


def test_a_few_of_many_answers_may_break_off_together() -> None:
    those = breakers()
    out = [those.begin(LANE, 0) for _ in range(100)]
    for one in out:
        those.heard(one)
    opened = [those.failed(one, BOOM, 1, others=99 - number) for number, one in enumerate(out)]
    assert opened.index(True) == 19  # of the 80 that are left, a quarter
    assert opened.count(True) == 1


@pytest.mark.parametrize(
    ("failure", "times", "blocked"),
    [
        (GONE, 3, [True, True, True, False]),
        (BOOM, 3, [True, True, False, False]),
        (KEY, 1, [True, False, True, False]),
        (LIMIT, 1, [True, False, False, False]),
        (Failure("billing_error", "", should_retry=False), 1, [True, False, True, False]),
        (Failure("conflict_error", "", should_retry=False), 1, [True, False, False, False]),
        (Failure("overloaded_error", "", retry_after=5.0), 1, [True, True, False, False]),
        (Failure("overloaded_error", ""), 2, [False, False, False, False]),
        (WRONG, 9, [False, False, False, False]),
    ],
)
def test_whom_a_failure_concerns(failure: Failure, times: int, blocked: list[bool]) -> None:
    those = breakers()
    for _ in range(times):
        fail(those, failure, 1)
    lanes = (LANE, OTHER_KEY, OTHER_MODEL, ELSEWHERE)
    assert [those.blocked(lane, 1) is not None for lane in lanes] == blocked


def test_a_named_time_is_kept_and_firm_while_a_client_can_sit_it_out() -> None:
    those = breakers()
    fail(those, LIMIT, 100)
    block = those.blocked(LANE, 105)
    assert block is not None
    assert (block.seconds, block.firm) == (15.0, True)
    assert those.blocked(LANE, 120) is None
    fail(those, Failure("rate_limit_error", "", retry_after=90.0), 200, OTHER_MODEL)
    assert not those.blocked(OTHER_MODEL, 200).firm  # type: ignore[union-attr]  # it is blocked
    assert those.blocked(OTHER_MODEL, 240).firm  # type: ignore[union-attr]  # it is blocked


def test_a_firm_block_counts_before_a_longer_one() -> None:
    those = breakers(cooldown_seconds=50.0)
    fail(those, LIMIT, 0)
    for _ in range(3):
        fail(those, BOOM, 0)
    block = those.blocked(LANE, 0)
    assert block is not None
    assert (block.cause, block.seconds, block.firm) == ("rate_limit", 20.0, True)


def test_another_trouble_has_another_time() -> None:
    those = breakers()
    fail(those, Failure("conflict_error", "", should_retry=False), 0)
    fail(those, LIMIT, 1)
    block = those.blocked(LANE, 1)
    assert block is not None
    assert (block.cause, block.seconds, block.firm) == ("rate_limit", 20.0, True)


def test_the_newest_word_of_the_provider_counts() -> None:
    those = breakers()
    fail(those, Failure("rate_limit_error", "", retry_after=3000.0, should_retry=False), 0)
    fail(those, LIMIT, 1)
    assert those.blocked(LANE, 1) == Block("rate_limit", 20.0, True)
    fail(those, Failure("rate_limit_error", ""), 2)
    assert those.blocked(LANE, 2) == Block("rate_limit", 19.0, True)


def test_no_time_is_believed_for_ever() -> None:
    those = breakers()
    fail(those, Failure("rate_limit_error", "", retry_after=1e6, should_retry=False), 0)
    assert those.blocked(LANE, LONGEST_NAMED_WAIT - 1) is not None
    assert those.blocked(LANE, LONGEST_NAMED_WAIT) is None


def test_one_probe_then_twice_as_long_up_to_a_limit() -> None:
    those, now = breakers(), 0.0
    for _ in range(3):
        fail(those, BOOM, now)
    for cooldown in (10, 20, 40, 80, 100, 100):
        assert those.blocked(LANE, now + cooldown - 0.1) is not None
        now += cooldown
        assert those.blocked(LANE, now) is None
        probe = those.begin(LANE, now)
        assert those.blocked(LANE, now) is not None  # the others wait for what it finds out
        those.failed(probe, BOOM, now)


def test_a_probe_that_hears_something_opens_the_way_before_its_end() -> None:
    those = breakers()
    for _ in range(3):
        fail(those, BOOM, 0)
    probe = those.begin(LANE, 10)
    those.heard(probe)
    assert those.blocked(LANE, 10) is None
    those.failed(probe, BOOM, 20)  # it broke off: one failure, not an open circuit
    assert those.blocked(LANE, 20) is None


def test_a_probe_that_tells_nothing_lets_the_next_one_find_out() -> None:
    those = breakers()
    for _ in range(3):
        fail(those, BOOM, 0)
    those.released(those.begin(LANE, 10))
    assert those.blocked(LANE, 10) is None


def test_requests_that_were_out_already_do_not_double_the_time() -> None:
    those = breakers()
    out = [those.begin(LANE, 0) for _ in range(20)]
    for one in out:
        those.failed(one, BOOM, 1)
    assert those.blocked(LANE, 10.9) is not None
    assert those.blocked(LANE, 11) is None


def test_an_older_answer_says_nothing_of_a_newer_limit() -> None:
    those = breakers()
    slow = those.begin(LANE, 0)
    fail(those, LIMIT, 5)
    those.heard(slow)
    those.succeeded(slow)
    assert those.blocked(LANE, 6) is not None


def test_a_used_up_allowance_blocks_softly() -> None:
    those = breakers()
    out = those.begin(LANE, 0)
    those.exhausted(LANE, 30, 1)
    those.succeeded(out)
    block = those.blocked(LANE, 2)
    assert block is not None
    assert (block.cause, block.seconds, block.firm) == ("rate_limit", 29.0, False)
    assert those.blocked(OTHER_KEY, 2) is None


def test_a_provider_without_a_key_has_no_circuit_for_it_that_is_the_providers() -> None:
    those, lane = breakers(), Lane("p", "", "m")
    fail(those, KEY, 0, lane)
    assert those.blocked(lane, 1) is not None
    assert those.blocked(LANE, 1) is None


def test_a_reload_cures_nobody() -> None:
    those = breakers()
    fail(those, LIMIT, 0)
    assert Breakers(FallbackRules(), those).blocked(LANE, 1) is not None


def test_health_shows_labels() -> None:
    those = breakers()
    fail(those, KEY, 0)
    fail(those, LIMIT, 0, ELSEWHERE)
    (one,) = those.health("p", {"env:A": "env:A"}, 60)
    assert (one.key, one.model, one.state, one.reason, one.seconds_left) == ("env:A", "", "open", "key refused", 40.0)
    assert those.health("p", {}, 100)[0].state == "half-open"


def test_made_up_models_do_not_fill_the_memory() -> None:
    those = breakers()
    for number in range(MOST_CIRCUITS * 2):
        fail(those, LIMIT, 0, Lane("p", "env:A", f"made up {number}"))
    assert len(those.circuits) == MOST_CIRCUITS


class Lanes(RuleBasedStateMachine):
    """Two lanes of one provider, requests that overlap, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.those = breakers()
        self.now = 1.0
        self.out: list[Pass] = []

    @rule(lane=st.sampled_from([LANE, OTHER_KEY]), forced=st.booleans())
    def begin(self, lane: Lane, forced: bool) -> None:
        if forced or self.those.blocked(lane, self.now) is None:
            self.out.append(self.those.begin(lane, self.now))

    @precondition(lambda self: self.out)
    @rule(
        data=st.data(),
        failure=st.sampled_from([GONE, BOOM, KEY, LIMIT, WRONG, None]),
        begins=st.booleans(),
        gone=st.booleans(),
    )
    def end(self, data: st.DataObject, failure: Failure | None, begins: bool, gone: bool) -> None:
        out = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        if begins:
            self.those.heard(out)
        if gone:
            self.those.released(out)
        elif failure:
            self.those.failed(out, failure, self.now, others=len(self.out))
        else:
            self.those.succeeded(out)

    @rule(seconds=st.sampled_from([0.5, 5.0, 10.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def never_two_probes(self) -> None:
        probed = [id(circuit) for out in self.out for circuit in out.probes]
        assert len(probed) == len(set(probed))
        for circuit in self.those.circuits.values():
            assert circuit.probing == (id(circuit) in probed)

    @invariant()
    def never_stuck(self) -> None:
        """With nobody out, every lane may be asked again after the longest time."""
        if not self.out:
            assert self.those.blocked(LANE, self.now + LONGEST_NAMED_WAIT) is None


Lanes.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLanes = Lanes.TestCase
