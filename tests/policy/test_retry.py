"""When Latimer itself tries again, and how long it waits."""

# ruff: noqa: E501 - the providers' sentences and bodies stand on one line each, whole

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.errors import STATUS, Failure
from latimer.policy.retry import RetryRules, wait_before_retry

RULES = RetryRules()


def test_defaults_are_the_public_ones() -> None:
    assert (RULES.tries, RULES.base_wait_seconds, RULES.max_wait_seconds) == (3, 10.0, 30.0)


@pytest.mark.parametrize("kind", ["api_error", "overloaded_error", "timeout_error"])
def test_server_errors_double_from_half_a_second(kind: str) -> None:
    failure = Failure(kind, "x")  # type: ignore[arg-type]
    rules = RetryRules(tries=5)
    assert [wait_before_retry(n, failure, rules, 0.0) for n in range(1, 6)] == [0.5, 1.0, 2.0, 4.0, None]


def test_a_rate_limit_without_a_time_waits_the_base() -> None:
    failure = Failure("rate_limit_error", "x")
    assert [wait_before_retry(n, failure, RULES, 0.0) for n in range(1, 4)] == [10.0, 20.0, None]
    assert wait_before_retry(3, failure, RetryRules(tries=9), 0.9) == 30.0
    assert wait_before_retry(1, failure, RetryRules(base_wait_seconds=1), 0.0) == 1.0


@pytest.mark.parametrize("kind", ["rate_limit_error", "overloaded_error", "api_error"])
@pytest.mark.parametrize(("asked", "wait"), [(0.0, 0.5), (1.0, 1.0), (5.289, 5.289), (30.0, 30.0), (30.1, None)])
def test_the_upstreams_own_time_is_kept(kind: str, asked: float, wait: float | None) -> None:
    failure = Failure(kind, "x", retry_after=asked)  # type: ignore[arg-type]
    assert wait_before_retry(1, failure, RULES, 0.9) == wait


@pytest.mark.parametrize("kind", [kind for kind in STATUS if kind not in {"rate_limit_error", "api_error", "timeout_error", "overloaded_error"}])  # fmt: skip
def test_what_stays_wrong_is_not_tried_again(kind: str) -> None:
    assert wait_before_retry(1, Failure(kind, "x"), RULES, 0.0) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", STATUS)
def test_should_retry_false_is_final(kind: str) -> None:
    failure = Failure(kind, "x", retry_after=1.0, should_retry=False)  # type: ignore[arg-type]
    assert wait_before_retry(1, failure, RULES, 0.0) is None


def test_one_try_means_none_again() -> None:
    assert wait_before_retry(1, Failure("api_error", "x"), RetryRules(tries=1), 0.0) is None


@given(
    st.integers(1, 20),
    st.sampled_from(list(STATUS)),
    st.none() | st.floats(0, 1e6),
    st.sampled_from([None, True, False]),
    st.floats(0, 1, exclude_max=True),
)
def test_waits_are_bounded(attempt: int, kind: str, asked: float | None, should: bool | None, jitter: float) -> None:
    failure = Failure(kind, "x", retry_after=asked, should_retry=should)  # type: ignore[arg-type]
    wait = wait_before_retry(attempt, failure, RetryRules(tries=20), jitter)
    assert wait is None or 0 < wait <= 30.0
    assert wait is None or asked is None or wait >= asked


@pytest.mark.parametrize("bad", [{"tries": 0}, {"max_wait_seconds": -1}, {"base_wait": 3}])
def test_wrong_settings_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, RetryRules)
