"""Failures: their status, whether they pass, and what a rejected client reads."""

import pytest

from latimer.errors import STATUS, ConfigError, Failure, LatimerError, Rejection, invalid


@pytest.mark.parametrize(
    ("failure", "status", "transient"),
    [
        (Failure("invalid_request_error", "no"), 400, False),
        (Failure("not_found_error", "no"), 404, False),
        (Failure("rate_limit_error", "later"), 429, True),
        (Failure("overloaded_error", "later"), 529, True),
        (Failure("api_error", "later"), 500, True),
        (Failure("timeout_error", "later"), 504, True),
        (Failure("api_error", "never", should_retry=False), 500, False),
        (Failure("authentication_error", "no", should_retry=True), 401, False),
    ],
)
def test_status_and_transience(failure: Failure, status: int, transient: bool) -> None:
    assert (failure.status, failure.transient) == (status, transient)


def test_each_type_has_a_status_of_its_own_class() -> None:
    assert len(set(STATUS.values())) == len(STATUS)
    assert all(400 <= status < 600 for status in STATUS.values())


def test_a_rejection_is_told_with_its_message_and_details() -> None:
    rejection = invalid("max_tokens: too many", error_code="limit")
    assert str(rejection) == "max_tokens: too many"
    assert rejection.failure == Failure("invalid_request_error", "max_tokens: too many", {"error_code": "limit"})
    assert invalid("no details").failure.details is None


def test_one_base_catches_all() -> None:
    assert issubclass(Rejection, LatimerError)
    assert issubclass(ConfigError, LatimerError)
