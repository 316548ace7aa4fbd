"""The report header: short, honest about what it leaves out, and legal as a header."""

import json

from hypothesis import given
from hypothesis import strategies as st

from latimer.report import HEADER_LIMIT, Loss, ascii_json, header, summarize

LOSSES = st.lists(st.builds(Loss, st.text(max_size=60), st.sampled_from(["dropped", "emulated"]), st.text(max_size=90)))


def test_losses_of_one_kind_are_one_entry() -> None:
    losses = [Loss(f"messages.{place}.content.{place + 1}.citations", "dropped", "none") for place in range(50)]
    assert summarize(losses) == [Loss("messages.*.content.*.citations", "dropped", "none")]


def test_what_differs_stays_apart_in_its_order() -> None:
    losses = [Loss("top_k", "dropped", "b"), Loss("speed", "dropped", "a"), Loss("top_k", "emulated", "b")]
    assert summarize(losses) == losses


def test_a_number_that_is_part_of_a_name_is_no_index() -> None:
    assert summarize([Loss("tools.0.input_schema.v2.x1", "dropped", "")]) == [
        Loss("tools.*.input_schema.v2.x1", "dropped", "")
    ]


def test_no_loss_no_header() -> None:
    assert header([]) == ""


def test_a_header_reads_back() -> None:
    losses = [Loss("top_k", "dropped", "„no“ 😀"), Loss("tools.1", "emulated", "x")]
    value = header(losses)
    assert value.isascii()
    assert "\n" not in value
    assert [entry["field"] for entry in json.loads(value)] == ["top_k", "tools.*"]
    assert json.loads(value)[0]["why"] == "„no“ 😀"


def test_a_cut_report_says_how_much_is_missing() -> None:
    losses = [Loss(f"field_{name}", "dropped", "why " * 10) for name in range(200)]
    value = header(losses)
    *shown, rest = json.loads(value)
    assert len(value) <= HEADER_LIMIT
    assert f"{200 - len(shown)} more entries" in rest["why"]


@given(LOSSES)
def test_any_report_is_a_legal_header(losses: list[Loss]) -> None:
    value = header(losses)
    assert len(value) <= HEADER_LIMIT
    assert value.isascii()
    assert value.isprintable()
    assert bool(value) == bool(losses)
    if value:
        json.loads(value)


@given(st.text())
def test_ascii_json_means_the_same(text: str) -> None:
    assert ascii_json(text).isascii()
    assert json.loads(ascii_json(text)) == text
