"""Headers: versions, betas, and those that are told as losses."""

import pytest

from latimer.dialects.messages.headers import Headers, read_headers
from latimer.report import Loss

VERSION = {"anthropic-version": ["2026-10-21"]}


def test_a_missing_version_is_the_old_one_and_told() -> None:
    headers = read_headers({})
    assert headers.version == "2023-06-01"
    assert [(loss.field, loss.action) for loss in headers.losses] == [("anthropic-version", "approximated")]


def test_a_version_is_taken_as_it_is() -> None:
    assert read_headers(VERSION) == Headers("2026-10-21")
    assert read_headers({"anthropic-version": ["1999-01-01"]}).version == "1999-01-01"


@pytest.mark.parametrize(
    ("values", "betas"),
    [
        (["a,b"], {"a", "b"}),
        ([" a , b ", "c"], {"a", "b", "c"}),
        (["", ","], set()),
        (["next-year-2027-01-01"], {"next-year-2027-01-01"}),
    ],
)
def test_betas(values: list[str], betas: set[str]) -> None:
    headers = read_headers(VERSION | {"anthropic-beta": values})
    assert headers.betas == betas
    assert not headers.losses


@pytest.mark.parametrize("name", ["anthropic-user-profile-id", "anthropic-workspace-id"])
def test_what_cannot_be_carried_is_reported(name: str) -> None:
    (loss,) = read_headers(VERSION | {name: ["secret"]}).losses
    assert loss == Loss(name, "dropped", loss.why)
    assert "secret" not in loss.why


def test_the_session_and_its_subagent() -> None:
    given = {"x-claude-code-session-id": ["s"], "x-claude-code-agent-id": ["a"]}
    assert read_headers(VERSION | given) == Headers("2026-10-21", session="s", agent="a")
