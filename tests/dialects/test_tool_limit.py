"""What is left out of too many tools: the least missed, and the same every turn."""

from hypothesis import given
from hypothesis import strategies as st

from latimer.dialects.tool_limit import CORE, left_out, summary

NAMES = st.lists(
    st.sampled_from(sorted(CORE)) | st.from_regex(r"mcp__[ab]__[a-z]{1,3}|[A-Z][a-z]{1,3}", fullmatch=True), unique=True
)


def test_mcp_tools_go_first_and_the_last_of_them_before_the_others() -> None:
    names = ["mcp__a__x", "Read", "mcp__a__y", "Deploy", "mcp__b__z", "Bash"]
    assert left_out(names, 5) == ["mcp__b__z"]
    assert left_out(names, 3) == ["mcp__a__x", "mcp__a__y", "mcp__b__z"]
    assert left_out(names, 2) == ["mcp__a__x", "mcp__a__y", "Deploy", "mcp__b__z"]
    assert left_out(names, 3, wanted={"mcp__b__z"}) == ["mcp__a__x", "mcp__a__y", "Deploy"]


@given(NAMES, st.integers(1, 20), st.data())
def test_calling_what_is_there_changes_nothing(names: list[str], limit: int, data: st.DataObject) -> None:
    before = left_out(names, limit)
    assert len(names) - len(before) == min(limit, len(names))
    kept = [name for name in names if name not in before]
    called = data.draw(st.sets(st.sampled_from(kept))) if kept else set()
    assert left_out(names, limit, called) == before


@given(NAMES, st.integers(1, 200))
def test_the_core_goes_last(names: list[str], limit: int) -> None:
    gone = left_out(names, limit)
    if any(name in CORE for name in gone):
        assert all(name in CORE for name in names if name not in gone)


def test_many_are_summed_up_by_server() -> None:
    names = [f"mcp__github__{n}" for n in range(30)] + ["mcp__one__x", "Deploy"]
    assert summary(names) == "30 of mcp__github, mcp__one, Deploy"
    assert summary(names[-2:]) == "mcp__one__x, Deploy"
    assert summary([f"T{n}" for n in range(30)]).endswith("T19 and 10 more")
