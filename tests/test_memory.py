"""What is kept, and what is forgotten."""

from latimer.memory import Memory, digest


def test_the_least_recently_used_is_forgotten_first() -> None:
    memory: Memory[str] = Memory(6, len)
    memory.put("a", "aa")
    memory.put("b", "bb")
    memory.put("c", "cc")
    assert memory.get("a") == "aa"
    memory.put("d", "d")
    assert [memory.get(key) for key in "abcd"] == ["aa", None, "cc", "d"]


def test_a_value_replaces_the_one_before_it() -> None:
    memory: Memory[str] = Memory(6, len)
    for _ in range(5):
        memory.put("a", "aaaa")
    memory.put("b", "bb")
    assert memory.get("a") == "aaaa"
    assert memory.get("b") == "bb"


def test_what_is_too_large_is_not_kept() -> None:
    memory: Memory[str] = Memory(3, len)
    memory.put("a", "aaaa")
    assert memory.get("a") is None


def test_a_digest_knows_where_one_text_ends() -> None:
    assert digest("ab", "c") != digest("a", "bc") != digest("abc")
    assert digest("a", "b") == digest("a", "b")
    assert len(digest("\ud83d")) == 64
