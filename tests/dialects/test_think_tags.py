"""`<think>` at the start of an answer, and nowhere else."""

import pytest

from latimer.dialects.think_tags import ThinkSplitter


def read(*pieces: str) -> list[tuple[str, str]]:
    """The kinds of text, neighbours joined."""
    splitter = ThinkSplitter()
    joined: list[tuple[str, str]] = []
    for kind, text in [found for piece in pieces for found in splitter.split(piece)] + splitter.flush():
        if joined and joined[-1][0] == kind:
            joined[-1] = (kind, joined[-1][1] + text)
        else:
            joined.append((kind, text))
    return joined


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        ("plain", [("text", "plain")]),
        ("<think>a</think>b", [("reasoning", "a"), ("text", "b")]),
        ("\n <think>a</think>\n\nb", [("reasoning", "a"), ("text", "b")]),
        ("<think></think>b", [("text", "b")]),
        ("<think>a", [("reasoning", "a")]),
        ("<think>a</thi", [("reasoning", "a</thi")]),
        ("<think>a</think>\n\n", [("reasoning", "a")]),
        ("<thin air", [("text", "<thin air")]),
        ("<th", [("text", "<th")]),
        ("I use <think>a</think>", [("text", "I use <think>a</think>")]),
        ("<think>a</think>b<think>c</think>", [("reasoning", "a"), ("text", "b<think>c</think>")]),
        ("<think>a < b </ c</think>d", [("reasoning", "a < b </ c"), ("text", "d")]),
        ("<thinking>a", [("text", "<thinking>a")]),
        ("", []),
    ],
)
def test_tags(answer: str, kinds: list[tuple[str, str]]) -> None:
    assert read(answer) == kinds
    assert read(*answer) == kinds, "one character at a time"


def test_reasoning_is_not_held_back_longer_than_a_tag_may_take() -> None:
    splitter = ThinkSplitter()
    assert splitter.split("<think>first words") == [("reasoning", "first words")]
    assert splitter.split(" and</th") == [("reasoning", " and")]
