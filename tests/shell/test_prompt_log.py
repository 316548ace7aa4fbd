"""The prompt log: what stands in it, and that only its owner can read it."""

import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from latimer.errors import ConfigError
from latimer.shell import prompt_log
from latimer.shell.prompt_log import PromptLog, request_id
from tests.scenarios.replies import Say, failure
from tests.shell.harness import KEY, PROMPT, serving

Json = dict[str, Any]


def lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_what_became_of_it_and_the_answer(tmp_path: Path, stream: bool) -> None:
    path = tmp_path / "prompts.jsonl"
    async with serving(Say("Hello there"), prompt_log=str(path)) as (client, _):
        before = len(lines(path))  # its engine was asked for
        response = await client.ask(stream=stream)
        assert response.status == 200
    assert mode(path) == 0o600
    written = [line for line in lines(path)[before:] if line["request_id"]]
    assert [line["kind"] for line in written] == ["request", "upstream_request", "upstream_answer"]
    assert {line["request_id"] for line in written} == {response.headers["request-id"]}
    assert PROMPT in written[0]["body"]
    assert PROMPT in json.loads(written[1]["body"])["messages"][0]["content"]
    assert "Hello" in written[2]["body"]
    assert written[1]["provider"] == "p0"


async def test_no_key_stands_in_it(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    said = f"I was told {KEY}"
    async with serving(Say(said), prompt_log=str(path)) as (client, _):
        assert (await client.ask(messages=[{"role": "user", "content": f"a {KEY}"}], stream=False)).status == 200
    text = path.read_text("utf-8")
    assert KEY not in text
    assert text.count("[key]") >= 2


async def test_refusals_stand_in_it(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    async with serving(failure(400, "no such thing"), prompt_log=str(path), retry="tries = 1") as (client, _):
        assert (await client.ask()).status == 400
    assert any("no such thing" in line["body"] for line in lines(path))


async def test_nothing_is_written_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with serving() as (client, _):
        assert (await client.ask()).status == 200
    assert not os.listdir(tmp_path)  # noqa: PTH208  # in a test that runs in the loop


async def test_it_is_told_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "prompts.jsonl"
    async with serving(prompt_log=str(path)):
        pass
    (said,) = [each.getMessage() for each in caplog.records if "prompts and answers" in each.getMessage()]
    assert str(path) in said
    assert [each.levelno for each in caplog.records if each.getMessage() == said] == [logging.WARNING]


@pytest.mark.skipif(os.name == "nt", reason="no modes")
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("readable", "can be read by other users; run: chmod 600"),
        ("link", "it is a symbolic link"),
        ("folder", "Is a directory"),
        ("pipe", "could not be opened|is no file"),
        ("nowhere", "No such file"),
    ],
)
def test_files_that_are_refused(kind: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    if kind == "readable":
        path.touch(0o640)
    elif kind == "link":
        (tmp_path / "target").touch(0o600)
        path.symlink_to(tmp_path / "target")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    else:
        path = tmp_path / "nowhere" / "prompts.jsonl"
    with pytest.raises(ConfigError, match=says):
        PromptLog(str(path))


def test_a_large_file_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_log, "MOST_BYTES", 300)
    path, older = tmp_path / "p", tmp_path / "p.1"
    log = PromptLog(str(path))
    for number in range(9):
        log.write("request", b"%d" % number * 100)
    assert mode(path) == mode(older) == 0o600
    assert path.stat().st_size <= 300
    assert [line["body"][0] for line in lines(older)] + [line["body"][0] for line in lines(path)] == list("678")[-3:]


def test_long_bodies_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_log, "MOST_OF_BODY", 4)
    request_id.set("req_1")
    log = PromptLog(str(tmp_path / "p"))
    log.write("upstream_answer", b"abcdefg", "p0")
    log.write("request", b"abcd")
    (first, second) = lines(tmp_path / "p")
    assert (first["body"], first["cut"], first["request_id"]) == ("abcd", True, "req_1")
    assert "cut" not in second


def test_a_disk_that_is_full_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PromptLog(str(tmp_path / "p"))
    (tmp_path / "p").unlink()
    tmp_path.chmod(0o500)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.write("request", b"hello")
    tmp_path.chmod(0o700)
