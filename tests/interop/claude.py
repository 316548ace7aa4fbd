"""Runs the real Claude Code, hermetically: a clean environment, its own home and working directory, loopback only.

Two releases half a year apart speak rather differently (system messages, tool search, token limits), so most tests run
with both. See `make clients` for how the binaries get here.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NEWEST, OLDER = "newest", "2.1.197"
TOKEN = "client-token-never-for-the-upstream"
SKIP_PERMISSIONS = ("--dangerously-skip-permissions",)


def binary(version: str) -> Path:
    """The client's executable; its absence is a failure with a cure, not a reason to skip."""
    if version == NEWEST:
        override, target = os.environ.get("LATIMER_TEST_CLAUDE"), "make venv"
        package = find_spec("claude_agent_sdk")
        folder = Path(package.origin).parent if package and package.origin else ROOT
        path = Path(override) if override else folder / "_bundled" / "claude"
    else:
        override, target = os.environ.get("LATIMER_TEST_CLAUDE_OLD"), "make clients"
        path = Path(override) if override else ROOT / ".cache" / f"claude-code-{OLDER}" / "claude"
    if not path.is_file():
        raise AssertionError(f"Claude Code ({version}) is not at {path}: `{target}` provides it")
    return path


@dataclass(frozen=True)
class Run:
    """What one run of the client printed."""

    events: list[dict[str, Any]]
    stderr: str
    code: int
    seconds: float

    @property
    def result(self) -> dict[str, Any]:
        """The final `result` event."""
        results = [event for event in self.events if event.get("type") == "result"]
        if not results:
            raise AssertionError(f"the client printed no result (exit {self.code}): {self.stderr[-2000:]}")
        return results[-1]

    @property
    def text(self) -> str:
        """The answer, as `-p` prints it."""
        return str(self.result.get("result", self.result.get("errors", "")))

    @property
    def failed(self) -> bool:
        """Whether the client calls the run an error."""
        return bool(self.result["is_error"])

    @property
    def usage(self) -> dict[str, Any]:
        """The token counts the client added up."""
        return dict(self.result["usage"])

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """All content blocks of all messages, in order."""
        contents = [event["message"]["content"] for event in self.events if event.get("type") in {"assistant", "user"}]
        return [block for content in contents if isinstance(content, list) for block in content]

    @property
    def tool_uses(self) -> list[dict[str, Any]]:
        """The tool calls the client understood."""
        return [block for block in self.blocks if block["type"] == "tool_use"]

    @property
    def tool_results(self) -> list[dict[str, Any]]:
        """What the client's tools answered."""
        return [block for block in self.blocks if block["type"] == "tool_result"]

    def named(self, subtype: str) -> list[dict[str, Any]]:
        """The `system` events of one subtype, `compact_boundary` for instance."""
        return [event for event in self.events if event.get("type") == "system" and event.get("subtype") == subtype]


@dataclass
class ClaudeCode:
    """One installation with one project: runs of the same instance share their sessions."""

    version: str
    home: Path
    base_url: str
    environment: Mapping[str, str] = field(default_factory=dict)
    token_variable: str = "ANTHROPIC_AUTH_TOKEN"

    @cached_property
    def project(self) -> Path:
        """The working directory."""
        folder = self.home / "project"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def ask(
        self,
        prompt: str,
        *flags: str,
        model: str = "sonnet",
        more: bool = False,
        timeout: float = 60,
        environment: Mapping[str, str] | None = None,
    ) -> Run:
        """Run `claude -p prompt`; `more` continues the last conversation of this project."""
        command = [str(binary(self.version)), "--model", model, "--output-format", "stream-json", "--verbose"]
        command += ["-c"] if more else []
        command += [*flags, "-p", prompt]
        return self._run(command, {**self.variables, **(environment or {})}, timeout)

    @cached_property
    def variables(self) -> dict[str, str]:
        """The client's environment."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "ANTHROPIC_BASE_URL": self.base_url,
            self.token_variable: TOKEN,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            # Lets root use --dangerously-skip-permissions, as containers do.
            "IS_SANDBOX": "1",
            **self.environment,
        }

    def _run(self, command: Sequence[str], environment: Mapping[str, str], timeout: float) -> Run:
        start = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=self.project,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            raise AssertionError(f"no end after {timeout:.0f} s\n{stdout[-2000:]}\n{stderr[-2000:]}") from None
        events = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
        return Run(events, stderr, process.returncode, time.monotonic() - start)
