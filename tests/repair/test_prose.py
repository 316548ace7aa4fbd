"""Where a call may begin in Markdown."""

import pytest

from latimer.repair.prose import Prose


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a <tool_call>", (2, True)),
        ("`<tool_call>`", (12, False)),
        ("`a\n<tool_call>", (3, True)),
        ("``a`<tool_call>", (15, False)),
        ("~~~\n<tool_call>\n~~~~\n<tool_call>", (21, True)),
        ("x\n```json\n", (2, True)),
        ("x ```json\n", (10, False)),
        ("````\n<tool_call>", (16, False)),
        (" {", (1, True)),
        ("a {", (3, False)),
        ("a <tool", (2, False)),
        ("a ~", (2, False)),
        ("a ``", (2, False)),
        ("a < b", (5, False)),
    ],
)
def test_find(text: str, found: tuple[int, bool]) -> None:
    assert Prose().find(text, final=False) == found


def test_everything_is_prose_at_the_end() -> None:
    assert Prose().find("a <tool", final=True) == (7, False)
    assert Prose().find("a ``", final=True) == (4, False)


def test_a_fence_that_was_no_call_is_a_fence() -> None:
    prose = Prose()
    assert prose.find("```x", final=False) == (0, True)
    prose.consume("```")
    assert prose.find("x\n<tool_call>\n```\n<tool_call>", final=False) == (18, True)
