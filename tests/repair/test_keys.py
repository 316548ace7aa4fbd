"""Which unknown names stand for which missing ones."""

from latimer.repair.keys import SYNONYMS, may_mean, renames


def test_spelling_and_synonyms() -> None:
    assert may_mean("filePath", "file_path")
    assert may_mean("File-Path", "file_path")
    assert may_mean("path", "file_path")
    assert not may_mean("place", "file_path")
    assert not may_mean("path", "somewhere")


def test_only_where_there_is_no_choice() -> None:
    assert renames(["path"], ["file_path", "content"]) == {"path": "file_path"}
    assert renames(["old_str", "new_str"], ["old_string", "new_string"]) == {
        "old_str": "old_string",
        "new_str": "new_string",
    }
    assert renames(["path", "file"], ["file_path"]) == {}
    assert renames(["file_path"], ["path", "notebook_path"]) == {}
    assert renames(["path"], []) == {}


def test_no_name_is_its_own_synonym() -> None:
    assert not [key for key, others in SYNONYMS.items() if key in others]
