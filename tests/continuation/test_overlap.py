"""The seam between what was shown and what a model says when it is asked to go on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.continuation.overlap import LAST_WORDS, LEAST, WINDOW, Overlap, last_words

# Every word is there once, so that no exact continuation looks like a repetition.
TEXTS = st.lists(
    st.tuples(st.integers(1000, 9999), st.sampled_from([" ", "\n", "\n\n", ", ", "\t", " é 😀 "])),
    unique_by=lambda each: each[0],
    min_size=1,
    max_size=30,
).map(lambda words: "".join(f"word{number}{space}" for number, space in words))


def new(shown: str, further: list[str], *, asked: bool = True) -> str:
    """What the client gets to see of the further text."""
    overlap = Overlap(shown, asked=asked)
    return "".join(overlap.feed(piece) for piece in further) + overlap.flush()


@st.composite
def seams(draw: st.DrawFn) -> tuple[str, str]:
    """A text in two parts, the first of which was shown."""
    text = draw(TEXTS)
    at = draw(st.integers(1, len(text)))
    return text[:at], text[at:]


def cut(draw: st.DataObject, text: str) -> list[str]:
    """The text in pieces."""
    size = draw.draw(st.integers(1, 40))
    return [text[at : at + size] for at in range(0, len(text), size)]


@given(st.data(), seams(), st.booleans())
def test_a_model_that_goes_on_exactly(data: st.DataObject, seam: tuple[str, str], asked: bool) -> None:
    shown, rest = seam
    assert new(shown, cut(data, rest), asked=asked) == rest


@given(st.data(), seams())
def test_a_model_that_repeats_the_words_it_was_asked_for(data: st.DataObject, seam: tuple[str, str]) -> None:
    shown, rest = seam
    words = shown[shown.rindex(last_words(shown)) :]
    assert new(shown, cut(data, words + rest)) == rest


@given(st.data(), seams(), st.booleans())
def test_a_model_that_repeats_some_last_characters(data: st.DataObject, seam: tuple[str, str], asked: bool) -> None:
    shown, rest = seam
    bare = shown.rstrip()
    count = data.draw(st.integers(min(LEAST, len(bare)), len(bare)))
    words = shown[len(bare) - count :]
    if words.lstrip() == words and len(words.rstrip()) >= LEAST:
        assert new(shown, cut(data, words + rest), asked=asked) == rest


@given(st.data(), seams())
def test_a_model_that_begins_anew(data: st.DataObject, seam: tuple[str, str]) -> None:
    shown, rest = seam
    assert new(shown, cut(data, shown + rest)) == rest


@given(st.data(), seams(), st.sampled_from(["", " ", "\n\n"]))
def test_white_space_around_the_seam_is_not_doubled(data: st.DataObject, seam: tuple[str, str], before: str) -> None:
    """Models and their templates drop and add white space at the edges of an answer."""
    shown, rest = seam
    words = shown.rstrip()
    assert new(words + "\n\n", cut(data, f"{before}{last_words(words)}\n{rest.lstrip()}")) == rest.lstrip()


@pytest.mark.parametrize(
    ("shown", "further", "said"),
    [
        ("hel", "lo", "lo"),
        ("ha", "ha ha", " ha"),  # it was asked for "ha" first
        ("The end.", "The end.", ""),
        ("The end.", "", ""),
        ("\n", "Hello", "Hello"),
        ("\n", "\n\nHello", "\nHello"),
        ("Hello", "\n\nWorld", "\n\nWorld"),
        ("-" * 100, "-" * LAST_WORDS + "--|", "--|"),
    ],
)
def test_short_texts(shown: str, further: str, said: str) -> None:
    for pieces in ([further], list(further)):
        assert new(shown, pieces) == said


def test_a_short_repetition_that_nobody_asked_for_is_the_texts_own() -> None:
    assert new("very, very", ["very, very loud"], asked=False) == "very, very loud"


def test_words_that_stood_there_before_do_not_hide_the_end() -> None:
    shown = "It was a fine day. It was a fine night"
    assert new(shown, ["It was a fine night, too."], asked=False) == ", too."
    assert new(shown, ["It was a fine year."], asked=False) == "It was a fine year."


def test_words_are_whole_and_few() -> None:
    text = " ".join(f"word{number}" for number in range(100)) + "\n"
    words = last_words(text)
    assert text.rstrip().endswith(f" {words}")
    assert words.startswith("word")
    assert LEAST <= len(words) <= LAST_WORDS
    assert last_words("a" * 200) == "a" * LAST_WORDS
    assert last_words(" \n") == ""


def test_nothing_is_held_back_for_longer_than_it_may_repeat() -> None:
    overlap = Overlap("The quick brown fox", asked=True)
    assert overlap.feed("The quick") == ""
    assert overlap.feed(" red") == "The quick red"
    assert overlap.feed(" cat") == " cat"


def test_a_long_answer_is_compared_within_the_window() -> None:
    shown = "".join(f"line {number}\n" for number in range(WINDOW // 4))
    assert len(shown) > WINDOW
    assert new(shown, [shown[-2000:], "more"]) == "more"
    assert new(shown, [shown, "more"]) == shown + "more"
