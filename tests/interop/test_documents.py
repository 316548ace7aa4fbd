"""The real Claude Code reads a PDF and a picture on a model that takes no images: its upstream answers 400 to each."""

import json
import re
from pathlib import Path

import pytest

from latimer.dialects.media import UNSEEN
from tests.interop.claude import NEWEST, OLDER, SKIP_PERMISSIONS, ClaudeCode
from tests.interop.conftest import check
from tests.latimer_process import configured, serving
from tests.scenarios import coding, files
from tests.scenarios.replies import Call, Say
from tests.scenarios.rules import Rules
from tests.upstream import Upstream, conversation, playing

BLIND = Rules(images=False)
PAGES = ("First: forty-two violins", "Second: seven cellos", "Third: one bassoon")
REFUSED = "this model does not support image input"


@pytest.fixture(params=[NEWEST, OLDER])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read(path: Path) -> Say:
    return Say(calls=(Call("Read", {"file_path": str(path)}),))


def assert_markers(upstream: Upstream) -> None:
    said = upstream.last.text
    for number, text in enumerate(PAGES, 1):
        assert f"[page {number} of 3]\n{text}" in said, conversation(upstream.last)


def test_a_pdf_of_three_pages_and_a_picture(version: str, tmp_path: Path) -> None:
    with (
        Upstream() as upstream,
        configured(upstream.url, "[providers.local.media]\nimages = false", home=tmp_path) as it,
    ):
        claude = ClaudeCode(version, tmp_path / "home", it.url)
        pdf, picture = claude.project / "cargo.pdf", claude.project / "red.png"
        pdf.write_bytes(files.pdf(*PAGES))
        picture.write_bytes(files.png())
        step = Say(calls=(coding.bash("echo goes on"),))
        upstream.play([read(pdf), read(picture), step, Say("Read it all."), Say("Still here.")], rules=BLIND)
        run = claude.ask("read both", *SKIP_PERMISSIONS)
        assert (run.text, run.failed) == ("Read it all.", False)
        assert [use["name"] for use in run.tool_uses] == ["Read", "Read", "Bash"]
        assert_markers(upstream)
        assert UNSEEN in upstream.last.text, conversation(upstream.last)
        assert claude.ask("and now?", *SKIP_PERMISSIONS, more=True).text == "Still here."
        assert_markers(upstream)
        check(upstream)


def test_an_upstream_that_has_to_be_learned(version: str, tmp_path: Path) -> None:
    with Upstream() as upstream, configured(upstream.url, home=tmp_path) as it:
        claude = ClaudeCode(version, tmp_path / "home", it.url)
        pdf, picture = claude.project / "cargo.pdf", claude.project / "red.png"
        pdf.write_bytes(files.pdf(PAGES[0], None, PAGES[2]))
        picture.write_bytes(files.png())
        # The refused request is asked again, so that the script does not hear of it.
        upstream.play([read(pdf), read(picture), Say("Read it all."), Say("Still here.")], rules=BLIND)
        assert claude.ask("read both", *SKIP_PERMISSIONS).text == "Read it all."
        assert claude.ask("and now?", *SKIP_PERMISSIONS, more=True).text == "Still here."
        assert [REFUSED in refusal for refusal in upstream.refused] == [True], "one lesson is enough"
        assert f"[page 1 of 3]\n{PAGES[0]}\n\n[page 2 of 3]\n(no text on this page)" in upstream.last.text
        assert UNSEEN in upstream.last.text


def test_a_model_that_describes(version: str, tmp_path: Path) -> None:
    def eyes(exchange: object) -> Say:
        return Say("A field of red, nothing else.")

    with Upstream() as upstream, playing(eyes) as seeing:
        config = tmp_path / "vision.toml"
        config.write_text(
            f'[providers.local]\nbase_url = "{upstream.url}"\n[providers.eyes]\nbase_url = "{seeing.url}"\n'
            '[routes]\ndefault = "local/m"\n[vision]\ndescribe_with = "eyes/m"\n'
        )
        with serving(["--config", str(config), "--port", "0"], home=tmp_path) as it:
            claude = ClaudeCode(version, tmp_path / "home", it.url)
            picture = claude.project / "red.png"
            picture.write_bytes(files.png())
            upstream.play([read(picture), Say("It is red."), Say("Still red.")], rules=BLIND)
            assert claude.ask("look", *SKIP_PERMISSIONS).text == "It is red."
            before = upstream.last.messages
            assert claude.ask("again?", *SKIP_PERMISSIONS, more=True).text == "Still red."
        assert "A field of red, nothing else." in upstream.last.text
        assert json.dumps(upstream.last.messages[: len(before)]) == json.dumps(before)
        (question,) = seeing.exchanges
        (image,) = (part for part in question.parts if part["type"] == "image_url")
        assert re.match("data:image/(png|jpeg|webp);base64,", image["image_url"]["url"])
