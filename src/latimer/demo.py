"""`latimer demo`: the real Claude Code gets an answer from a small model on this machine, through Latimer.

    Claude Code  ->  Latimer (in this process)  ->  llama.cpp with SmolLM2-135M

All on loopback and with a throw-away home folder: nothing of the user's own Claude Code settings is read or written, no
key is needed, and nothing is left running. Claude Code's usual request (50 KB of instructions and tools) does not fit
into the window of so small a model, so the demo asks with a system prompt of its own and without tools.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from latimer.errors import LatimerError
from latimer.launch import claude_environment, find_claude
from latimer.local_model import MAX_ANSWER_TOKENS, LocalModel, local_model
from latimer.policy.claude_code import Limits
from latimer.policy.config import Config, Flags, parse, private
from latimer.shell.service import running

PROMPT = "What is the capital of France?"
# The example keeps a model of this size to the point: without it, the model goes on about Claude Code's own first line,
# which stands before any system prompt.
SYSTEM_PROMPT = (
    "You are an AI assistant. Answer the user's question directly, in English, in one or two short sentences.\n"
    "Example question: What is the capital of Italy?\n"
    "Example answer: The capital of Italy is Rome."
)
VERSION_SECONDS = 30.0
ANSWER_SECONDS = 300.0


class DemoError(LatimerError):
    """The demo cannot go on; the text says why and what to do."""


@dataclass(frozen=True)
class Answer:
    """What Claude Code reported: its text, tokens both ways, and seconds from its start to its end."""

    text: str
    input_tokens: int
    output_tokens: int
    seconds: float
    failed: bool


def run_demo(prompt: str = PROMPT, *, gguf: Path | None = None, claude: str = "", as_json: bool = False) -> int:
    """Ask `prompt` and print the answer on standard output, progress and figures on standard error.

    `gguf` is another model file to use, `claude` another client. With `as_json`, standard output is one JSON object:
    prompt, answer, model, context_window, input_tokens, output_tokens, seconds. The result is an exit code: 0 answered,
    1 failed, 130 interrupted.
    """
    console = Console(stderr=True, highlight=False)
    try:
        with _terminated_as_interrupted(), contextlib.ExitStack() as stack:
            program = find_claude(claude)
            home = stack.enter_context(_home())
            with console.status("starting the local model"):
                model = stack.enter_context(local_model(gguf))
            _done(console, "local model", f"{model.model}, {model.context_window:,} tokens, {model.base_url}")
            answer = asyncio.run(_through_latimer(program, prompt, model, home, console))
        _print_answer(prompt, model, answer, as_json, console)
    except LatimerError as error:
        console.print(f"[red]✗[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted: everything that the demo had started is stopped")
        return 130
    return 0


async def _through_latimer(claude: Path, prompt: str, model: LocalModel, home: Path, console: Console) -> Answer:
    """Start Latimer on a private port with a random token, and ask Claude Code to ask it."""
    token = secrets.token_urlsafe(32)
    settings = demo_config(model, token)
    async with running(settings) as url:
        _done(console, "Latimer", f"{url}, a private port with a random token")
        environment = demo_environment(url, token, settings, model, home)
        with console.status("starting Claude Code"):
            version = await _output([str(claude), "--version"], environment, home, VERSION_SECONDS)
        _done(console, "Claude Code", f"{version.decode(errors='replace').split(' ')[0].strip()}, {claude}")
        console.print(f"\n[bold]>[/] {escape(prompt)}")
        with console.status("Claude Code is asking"):
            return await ask_claude(claude, prompt, environment, home)


def demo_config(model: LocalModel, token: str) -> Config:
    """Latimer's whole configuration: every model id is answered by the local model, for those who show the token."""
    flags = Flags(upstream=model.base_url, model=model.model, context_window=model.context_window)
    return private(parse("", "latimer demo", flags), token)


def demo_environment(url: str, token: str, settings: Config, model: LocalModel, home: Path) -> dict[str, str]:
    """The environment of `latimer run`, but with a home of its own and a request cut down to a small model's size."""
    sizes = Limits(model.context_window, MAX_ANSWER_TOKENS)
    environment = claude_environment(url, token, settings, sizes, os.environ)
    kept = {name: value for name, value in environment.items() if not name.startswith("XDG_")}
    folders = dict.fromkeys(("HOME", "USERPROFILE", "CLAUDE_CONFIG_DIR", "TMPDIR"), str(home))
    return {
        **kept,
        **folders,
        # As --bare does, and harmless to older clients that do not know it: no description of the machine in the
        # request, which is half of it and all that this model would then talk about.
        "CLAUDE_CODE_SIMPLE": "1",
        # Claude Code takes only this one in that mode.
        "ANTHROPIC_API_KEY": token,
        "DISABLE_AUTOUPDATER": "1",
    }


async def ask_claude(claude: Path, prompt: str, environment: Mapping[str, str], home: Path) -> Answer:
    """Run `claude -p prompt`; raises DemoError when it reports a failure or prints no result."""
    command = [str(claude), "-p", "--model", "sonnet", "--output-format", "json", "--no-session-persistence"]
    command += ["--system-prompt", SYSTEM_PROMPT, "--tools", "", "--", prompt]
    start = time.monotonic()
    output = await _output(command, environment, home, ANSWER_SECONDS)
    answer = _read_result(output, time.monotonic() - start)
    if not answer.failed:
        return answer
    if "output token maximum" in answer.text:
        raise DemoError("the model did not come to an end, as happens with one so small: try a simpler question")
    raise DemoError(f"Claude Code reports: {answer.text}")


async def _output(command: list[str], environment: Mapping[str, str], home: Path, seconds: float) -> bytes:
    """What a command of Claude Code printed; raises DemoError when it says nothing, or takes longer."""
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        child = await asyncio.create_subprocess_exec(
            *command, cwd=home, env=dict(environment), stdin=nothing, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        raise DemoError(f"{command[0]} could not be started: {error.strerror}") from None
    try:
        stdout, stderr = await asyncio.wait_for(child.communicate(), seconds)
    except TimeoutError:
        raise DemoError(f"Claude Code did not answer within {seconds:.0f} s") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if not stdout.strip():
        words = stderr.decode(errors="replace").strip()[-1000:]
        raise DemoError(f"Claude Code printed nothing (exit {child.returncode}): {words or 'no message'}")
    return stdout


def _read_result(output: bytes, seconds: float) -> Answer:
    try:
        result: dict[str, Any] = json.loads(output)
        usage = result["usage"]
        # Claude Code counts what came from a cache separately; to the reader it is all input.
        cached = usage.get("cache_read_input_tokens", 0) + usage.get("cache_creation_input_tokens", 0)
        text = result.get("result") or "; ".join(map(str, result.get("errors", ())))
        return Answer(
            text, usage["input_tokens"] + cached, usage["output_tokens"], round(seconds, 2), bool(result["is_error"])
        )
    except (ValueError, KeyError, TypeError) as error:
        words = output.decode(errors="replace").strip()[-1000:]
        raise DemoError(f"Claude Code printed no result: {words}") from error


def _print_answer(prompt: str, model: LocalModel, answer: Answer, as_json: bool, console: Console) -> None:
    if as_json:
        figures = {name: value for name, value in asdict(answer).items() if name not in {"text", "failed"}}
        about = {"model": model.model, "context_window": model.context_window}
        line = json.dumps({"prompt": prompt, "answer": answer.text, **about, **figures}, ensure_ascii=False)
        sys.stdout.write(f"{line}\n")
        return
    # Flushed, so that the lines of the two streams stay in order.
    sys.stdout.write(f"\n{answer.text.strip()}\n\n")
    sys.stdout.flush()
    figure = f"{answer.input_tokens} tokens in, {answer.output_tokens} tokens out, {answer.seconds:.1f} s"
    console.print(f"[dim]{figure}, Claude Code's start included[/]")
    console.print(
        "[dim]This shows the way, not the model, which is among the smallest there are. "
        "With a model of yours: latimer run --help[/]",
        soft_wrap=True,
    )


def _done(console: Console, part: str, text: str) -> None:
    """One line of progress."""
    console.print(f"[green]✓[/] {part:<12} {escape(text)}", soft_wrap=True)


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """A home folder for Claude Code that ends with the demo."""
    with tempfile.TemporaryDirectory(prefix="latimer-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C, so that nothing stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
