"""The pictures of the docs can be taken anew, and those in the tree show what is there now."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from docs.recordings import FOLDER, MODEL, QUESTION, environment_of, new_home, record

from tests.scenarios.replies import Say
from tests.screen import screen
from tests.upstream import Upstream

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
KNOWN = {"init", "doctor", "run", "model", "context"}


def words(path: Path) -> str:
    """The text of a picture, without what differs from run to run: blanks, numbers, the folder's name."""
    text = "".join(ElementTree.parse(path).getroot().itertext())
    return re.sub(r"\d+", "0", re.sub(r"[\w/]*/alex[-\w]*", "~", re.sub(r"\s", "", text)))


def findings(path: Path) -> set[str]:
    """What `latimer doctor` has found, by its codes."""
    found = set(re.findall(r"(?:note|warning|wrong)([a-z]+-[a-z-]+):", words(path)))
    assert found
    return found


@pytest.mark.timeout(400)
def test_they_can_be_taken_anew(tmp_path: Path) -> None:
    """Each shows what it is for, and Latimer's own screens are as in the tree; Claude Code's change by themselves."""
    record(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == KNOWN
    for name, shown in {
        "init": "[providers.upstream]",
        "doctor": "nothing is wrong",
        "run": QUESTION,
        "model": f"{MODEL} Sonnet tier, upstream, through Latimer",
        "context": "131.1k tokens",
    }.items():
        assert re.sub(r"\d+", "0", re.sub(r"\s", "", shown)) in words(tmp_path / f"{name}.svg"), name
    assert words(FOLDER / "init.svg") == words(tmp_path / "init.svg"), "take them anew: make recordings"
    # Another machine may have more to tell.
    assert findings(FOLDER / "doctor.svg") <= findings(tmp_path / "doctor.svg"), "take them anew: make recordings"


def test_the_pictures_in_the_tree_load_nothing() -> None:
    assert {path.stem for path in FOLDER.glob("*.svg")} == KNOWN
    for path in FOLDER.glob("*.svg"):
        text = path.read_text("utf-8")
        assert "url(http" not in text
        assert "@import" not in text


def test_the_screen_names_no_conflict() -> None:
    """`/status`, for a user who has keys of other services in the environment."""
    keys = {"ANTHROPIC_API_KEY": "sk-ant-of-the-user", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    with new_home() as home, Upstream(lambda _: Say("OK")) as upstream:
        command = [sys.executable, "-m", "latimer", "run", "--upstream", upstream.url, "--model", "m"]
        with screen(command, {**environment_of(home), **keys}, home / "project", (100, 40)) as terminal:
            terminal.until("for shortcuts")
            terminal.settled()
            terminal.enter("/status")
            terminal.until("Anthropic base URL")
            shown = terminal.settled()
    assert re.search(r"Auth token: +ANTHROPIC_AUTH_TOKEN", shown)
    assert re.search(r"Model: +.*upstream/m", shown)
    assert "127.0.0.1:9\n" not in shown
    for word in ("conflict", "API key", "auth may not work", "Login method"):
        assert word not in shown, shown
