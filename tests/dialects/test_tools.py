"""What every dialect knows of tools: names and ids that every server takes, and back.

Which tools the model is shown, and how, is tested through the dialects.
"""

import re

from hypothesis import given
from hypothesis import strategies as st

from latimer.dialects.tools import LEGAL_NAME, CallIds, hash_text, restored_names, upstream_name
from latimer.profile import ToolRules
from tests.dialects.chat.asking import assistant, call, parsed, result, tool, user


@given(st.text(min_size=1, max_size=130))
def test_every_name_becomes_legal_and_comes_back(name: str) -> None:
    sent = upstream_name(name)
    assert LEGAL_NAME.fullmatch(sent)
    request = parsed(tools=[tool(name)])
    assert restored_names(request).get(sent, sent) == request.tools[0].name


def test_names_that_begin_alike_stay_apart() -> None:
    long = ["mcp__server__" + "x" * 80 + end for end in "ab"]
    assert len({upstream_name(name) for name in long}) == 2


def test_names_of_earlier_calls_come_back_too() -> None:
    assert restored_names(parsed("go", assistant(call("toolu_A", "gone.tool")), user(result("toolu_A")))) == {
        upstream_name("gone.tool"): "gone.tool"
    }


@given(
    st.lists(st.text(min_size=1, max_size=70), min_size=1, max_size=20),
    st.sampled_from(["[A-Za-z0-9_-]{1,40}", "[A-Za-z0-9]{9}"]),
)
def test_ids_are_legal_unique_and_the_same_every_turn(ids: list[str], pattern: str) -> None:
    rules = ToolRules(id_pattern=pattern)
    sent, again = CallIds(rules), CallIds(rules)
    made = [sent.take(each) for each in ids]
    assert all(re.fullmatch(pattern, each) for each in made)
    assert len(set(made)) == len(ids)
    assert [again.take(each) for each in ids[:5]] == made[:5]


def test_hashes_are_stable_across_processes() -> None:
    assert hash_text("functions.Bash:0", 9) == "vuVSbYOp6"
