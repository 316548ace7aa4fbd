"""The same tests with an `anthropic` release that speaks API version 2023-06-01, as Claude Code itself does.

Two releases of one package cannot live in one process, so this one runs them in a second pytest.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.interop.claude import ROOT


def older_sdk() -> Path:
    """Where the older release is installed."""
    path = Path(os.environ.get("LATIMER_TEST_ANTHROPIC_OLD") or ROOT / ".cache" / "anthropic-1")
    if not (path / "anthropic" / "__init__.py").is_file():
        raise AssertionError(f"the older anthropic SDK is not in {path}: `make clients` provides it")
    return path


def test_every_sdk_test_passes_with_the_older_release() -> None:
    folder = Path(__file__).parent
    modules = sorted(str(path) for path in folder.glob("test_anthropic_sdk*.py"))
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--no-header", "-p", "no:xdist"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *modules],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(older_sdk()), "LATIMER_TEST_ANTHROPIC_MAJOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
