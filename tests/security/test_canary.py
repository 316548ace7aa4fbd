"""A canary key and a canary prompt, sent through everything that Latimer does, are found nowhere afterwards.

Nowhere: no file of the home, state and temporary folders, nothing that was printed or logged at any level, no answer of
the server, no list of processes. The exceptions are what they are for: a model's answer may hold the prompt, and what a
provider says of a request goes to the client who made it, without the key.

The faults of tests/faults are sent with the same canaries, and their logs and messages looked at, in test_matrix.py;
exceptions that nobody foresaw, with the canaries in them, in tests/shell/test_server.py (`test_unexpected_errors`).
"""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.faults.answers import spoken
from tests.latimer_process import Latimer, serving
from tests.scenarios.replies import Say, Wire
from tests.shell.harness import Exchange, Upstream, upstream
from tests.upstream import Upstream as Strict

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at processes in /proc")

# Of no form by which it could be known for a key.
KEY = "Zwitscherkanarienvogel.in.der.Grube"
PROMPT = "gelber-vogel-der-im-schacht-singt"
TOKEN = "Schlagwetterwarnerpfeife.am.Eingang"
VARIABLES = {"CANARY_KEY": KEY, "CANARY_TOKEN": TOKEN}
DIALECTS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
SHOWN = {"x-api-key": TOKEN, "anthropic-version": "2023-06-01"}
Json = dict[str, Any]


def forms(canary: str) -> Iterator[bytes]:
    """How it could stand somewhere: plain, or somewhere in base64, which has three ways to begin."""
    yield canary.encode()
    for offset in range(3):
        packed = base64.b64encode(b"\0" * offset + canary.encode())
        yield packed[4 if offset else 0 : len(packed) - 4]


def found(data: bytes, *canaries: str) -> list[str]:
    return [canary for canary in canaries for form in forms(canary) if form in data]


def on_disk(folder: Path, *canaries: str) -> list[tuple[str, list[str]]]:
    """The files below a folder that hold any, with their names."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    return [(str(path), each) for path in files if (each := found(path.read_bytes() + str(path).encode(), *canaries))]


def commands(root: int) -> dict[int, bytes]:
    """The command lines of a process and all below it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (ValueError, OSError):
            continue
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    lines = {}
    for pid in family:
        try:
            lines[pid] = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
    return lines


def test_a_canary_is_found_in_all_its_forms() -> None:
    """The search itself."""
    for text in (f"a {KEY} b", json.dumps({"k": KEY})):
        assert found(text.encode(), KEY, PROMPT) == [KEY]
    for offset in range(5):
        assert found(base64.b64encode(b"x" * offset + f"{PROMPT} and more".encode()), PROMPT)
    assert not found(b"nothing of the kind", KEY, PROMPT)


# --- the server ------------------------------------------------------------------------------------------------------


def echo(kind: str) -> bytes:
    """What a provider that repeats all it was told says of it."""
    return f"{kind}: you sent key {KEY} (Bearer {KEY}) and asked {PROMPT}".encode()


def refusal(status: int, kind: str, **headers: str) -> Wire:
    error = {"message": echo(kind).decode(), "type": "invalid_request_error", "param": None, "code": None}
    return Wire(
        (json.dumps({"error": error}).encode(),), status=status, headers={"content-type": "text/plain", **headers}
    )


def good(dialect: str, stream: bool) -> Wire:
    answer = spoken(dialect, stream=stream)
    steps = (*answer.opening, *answer.tokens, *answer.ending)
    return Wire(steps, headers={"content-type": answer.content_type})


def broken(dialect: str, stream: bool) -> Wire:
    """An error in the midst of a 200, with all the upstream knows in it."""
    answer = spoken(dialect, stream=stream)
    error = answer.error.replace(b"the engine ran out of memory", echo("out of memory"))
    return Wire((*answer.opening, *answer.tokens[:2], error), headers={"content-type": answer.content_type})


def cut(dialect: str, stream: bool) -> Wire:
    answer = spoken(dialect, stream=stream)
    return Wire((*answer.opening, *answer.tokens[:2]), headers={"content-type": answer.content_type})


OUTCOMES: dict[str, Callable[[str, bool], Wire]] = {
    "good": good,
    "cut": cut,
    "broken": broken,
    "garbage": lambda *_: Wire((b"<html>" + echo("garbage"),)),
    "page": lambda *_: Wire((b"<html><title>" + echo("page") + b"</title>",), status=502),
    "wrong key": lambda *_: refusal(401, "Incorrect API key provided"),
    "forbidden": lambda *_: refusal(403, "forbidden"),
    "limited": lambda *_: refusal(429, "rate limited", **{"retry-after": "1"}),
    "overloaded": lambda *_: refusal(529, "overloaded"),
    "failed": lambda *_: refusal(500, "internal error"),
    "too long": lambda *_: refusal(400, "maximum context length is 8192 tokens, however you requested 9000 tokens"),
    "unknown": lambda *_: refusal(400, "something else"),
    "lesson": lambda *_: refusal(400, "Unsupported parameter: 'temperature' is not supported with this model."),
}


class Provider:
    """Answers by the name of the model, in the dialect that it is asked in; the first model of a lesson is taught."""

    def __init__(self) -> None:
        self.asked: set[tuple[str, str]] = set()

    def wire(self, dialect: str, raw: bytes) -> Wire:
        body: Json = json.loads(raw)
        outcome = str(body["model"])
        assert PROMPT in raw.decode()
        self.asked.add((dialect, outcome))
        if outcome == "lesson" and "temperature" not in body:
            outcome = "good"
        return OUTCOMES[outcome](dialect, bool(body.get("stream")))

    async def chat(self, exchange: Exchange) -> None:
        if PROMPT not in exchange.raw.decode():  # what an engine is asked at the start
            await exchange.play(refusal(404, "not found"))
            return
        assert exchange.headers["authorization"] == f"Bearer {KEY}"
        await exchange.play(self.wire("chat", exchange.raw))

    @property
    def others(self) -> Json:
        return {DIALECTS[d]: lambda raw, d=d: self.wire(d, raw) for d in ("responses", "messages")}


def configuration(url: str) -> str:
    lines = ["[server]", "port = 0", 'token = "env:CANARY_TOKEN"', "[retry]", "tries = 1"]
    for dialect in DIALECTS:
        for way, rules in (("", ""), ("_asked", 'request = { stream = "as_asked" }')):
            lines += [f"[providers.{dialect}{way}]", f'base_url = "{url}"', 'api_key = "env:CANARY_KEY"']
            lines += [f'dialect = "{dialect}"', rules]
    lines += ["[routes]", 'default = "chat/good"']
    names = [f"{dialect}{way}/{outcome}" for dialect in DIALECTS for way in ("", "_asked") for outcome in OUTCOMES]
    return "\n".join([*lines, *(f"{json.dumps(name)} = {json.dumps(name)}" for name in names)])


@asynccontextmanager
async def running(home: Path, *flags: str) -> AsyncIterator[tuple[Latimer, aiohttp.ClientSession, Provider, Upstream]]:
    provider = Provider()
    (home / "tmp").mkdir()
    async with upstream(provider.chat, others=provider.others) as script:
        path = home / "latimer.toml"
        path.write_text(configuration(script.url))
        arguments = ["--config", str(path), "--log-level", "debug", "--state-dir", str(home / "state"), *flags]
        environment = {**VARIABLES, "TMPDIR": str(home / "tmp")}
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            server = await asyncio.to_thread(lambda: serving(arguments, home=home, environment=environment))
            latimer = await asyncio.to_thread(server.__enter__)
            try:
                yield latimer, session, provider, script
            finally:
                await asyncio.to_thread(server.__exit__, None, None, None)


def question(model: str, stream: bool) -> Json:
    return {
        "model": model,
        "max_tokens": 50,
        "temperature": 0.5,
        "stream": stream,
        "system": f"system {PROMPT}",
        "messages": [{"role": "user", "content": PROMPT}],
    }


@pytest.mark.parametrize("flags", [(), ("--workers", "2")], ids=["alone", "workers"])
async def test_everything_that_a_server_does(flags: tuple[str, ...], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    log = home / "latimer.log"
    told: list[bytes] = []
    async with running(home, "--log-file", str(log), *flags) as (latimer, session, provider, _):

        async def ask(method: str, path: str, body: Any = None, headers: Any = SHOWN) -> tuple[int, bytes]:
            data = json.dumps(body).encode() if body is not None else None
            async with session.request(method, latimer.url + path, data=data, headers=headers) as response:
                everything = repr(dict(response.headers)).encode() + await response.read()
            told.append(everything)
            return response.status, everything

        names = [f"{dialect}{way}/{outcome}" for dialect in DIALECTS for way in ("", "_asked") for outcome in OUTCOMES]
        for name in names:
            for stream in (True, False):
                status, answer = await ask("POST", "/v1/messages", question(name, stream))
                if name.endswith("/good") or (name.endswith("/lesson") and not name.startswith("messages")):
                    assert status == 200, (name, answer)
                    assert not found(answer, PROMPT)
        assert provider.asked == {(dialect, outcome) for dialect in DIALECTS for outcome in OUTCOMES}
        for broken_body in ({"model": PROMPT, "messages": PROMPT}, {PROMPT: PROMPT}, [PROMPT]):
            status, _ = await ask("POST", "/v1/messages", broken_body)
            assert status in (400, 404)
        await ask("POST", "/v1/messages/count_tokens", question("chat/good", False))
        await ask("POST", f"/v1/{PROMPT}?q={PROMPT}", {})
        wrong = {"x-api-key": f"{TOKEN}x", "authorization": f"Bearer {KEY}"}
        assert (await ask("POST", "/v1/messages", question("chat/good", True), wrong))[0] == 401
        own = [await ask("GET", path) for path in ("/", "/health", "/metrics", "/status", "/v1/models", "/ready")]
        assert [status for status, _ in own] == [200] * len(own)
        assert not found(b"".join(answer for _, answer in own), KEY, PROMPT, TOKEN)
        for pid, line in commands(latimer.process.pid).items():
            assert not found(line, KEY, PROMPT, TOKEN), pid
        if flags:
            _kill_a_worker(latimer.process.pid)
    learned = (home / "state" / "learned.json").read_text()
    assert "temperature" in learned
    assert log.read_text()
    assert not on_disk(home, KEY, PROMPT, TOKEN)
    assert not found((latimer.stdout + latimer.stderr).encode(), KEY, PROMPT, TOKEN)
    # A provider's words go to the client who asked; that they hold the prompt is no leak.
    assert not found(b"".join(told), KEY, TOKEN)
    for path in (home / "state").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def _kill_a_worker(parent: int) -> None:
    """As a crash does, with whatever Python writes of it."""
    (worker, *_) = [pid for pid in commands(parent) if pid != parent]
    os.kill(worker, signal.SIGABRT)


async def test_a_server_that_is_stopped_in_the_middle(tmp_path: Path) -> None:
    """And one that logs to standard error."""
    home = tmp_path / "home"
    home.mkdir()
    held = asyncio.Event()

    async def hold(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("so far ")
        held.set()
        await exchange.gone.wait()

    (home / "tmp").mkdir()
    async with upstream(hold) as script, aiohttp.ClientSession() as session:
        path = home / "latimer.toml"
        path.write_text(configuration(script.url).replace("port = 0", "port = 0\nshutdown_seconds = 0.1"))
        environment = {**VARIABLES, "TMPDIR": str(home / "tmp")}
        arguments = ["--config", str(path), "--log-level", "debug"]
        latimer = await asyncio.to_thread(lambda: Latimer(arguments, home=home, environment=environment).ready())
        body = json.dumps(question("chat/good", True))
        async with session.post(latimer.url + "/v1/messages", data=body, headers=SHOWN) as response:
            await asyncio.wait_for(held.wait(), 30)
            assert await asyncio.to_thread(latimer.stop) == 130
            left = await response.read()
    assert b"stopping" in left
    assert latimer.stderr
    assert not found(left + (latimer.stdout + latimer.stderr).encode(), KEY, PROMPT, TOKEN)
    assert not on_disk(home, KEY, PROMPT, TOKEN)


async def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """The one file that a prompt may stand in, without any key, and private."""
    home = tmp_path / "home"
    home.mkdir()
    path = home / "prompts.jsonl"
    async with running(home, "--prompt-log", str(path)) as (latimer, session, _, _):
        for outcome in ("good", "wrong key"):
            body = json.dumps(question(f"chat/{outcome}", True))
            async with session.post(latimer.url + "/v1/messages", data=body, headers=SHOWN) as response:
                await response.read()
    assert on_disk(home, KEY, PROMPT, TOKEN) == [(str(path), [PROMPT])]
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"all prompts and answers are written to {path}" in latimer.stderr


# --- the commands ----------------------------------------------------------------------------------------------------

CLAUDE = f"""#!{sys.executable}
import json, os, sys, urllib.request
for name in ("CANARY_KEY", "CANARY_TOKEN"):
    assert name in os.environ  # a user's own variables stay
url, token = os.environ["ANTHROPIC_BASE_URL"], os.environ["ANTHROPIC_AUTH_TOKEN"]
assert "{KEY}" not in (url + token) and "{TOKEN}" != token
if sys.argv[1:2] == ["--version"]:
    sys.exit(print("2.1.197 (Claude Code)"))
messages = [{{"role": "user", "content": "{PROMPT}"}}]
body = json.dumps({{"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": messages}})
request = urllib.request.Request(url + "/v1/messages", body.encode(), {{"x-api-key": token}})
print(json.load(urllib.request.urlopen(request))["content"][0]["text"])
"""


def test_everything_that_the_commands_do(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "tmp").mkdir(parents=True)
    tool = tmp_path / "claude"
    tool.write_text(CLAUDE)
    tool.chmod(0o700)
    with Strict(lambda exchange: Say("it answers"), key=KEY) as provider:
        flags = [
            "--provider",
            "local",
            "--base-url",
            provider.url,
            "--api-key-env",
            "CANARY_KEY",
            "--model",
            provider.host.model,
        ]
        run = _Runner(home)
        run("init", *flags, "--yes")
        run("models")
        run("probe", "--yes")
        run("doctor", codes=(0, 1), CANARY_KEY=KEY)
        run("doctor", "--json", codes=(0, 1))
        run("env")
        run(
            "run",
            "--claude",
            str(tool),
            "--log-level",
            "debug",
            "--log-file",
            str(home / "run.log"),
            "--",
            "-p",
            PROMPT,
        )
        assert "it answers" in run.said[-1]
        run("start", "--port", "0", "--token-env", "CANARY_TOKEN", "--log-level", "debug")
        try:
            run("status", codes=(0, 1))
            run("status", "--json", codes=(0, 1))
            run("logs")
        finally:
            run("stop")
        run("probe", "--yes", codes=(1,), CANARY_KEY=f"{KEY}x")
        run("forget", "--all", codes=(0, 1, 2))
    said = "".join(run.said).encode()
    assert not found(said.replace(PROMPT.encode(), b""), KEY, TOKEN)
    assert not found(said, PROMPT)
    assert not on_disk(home, KEY, PROMPT, TOKEN)
    own = [path for name in (".config", ".state") for path in (home / name / "latimer").rglob("*")]
    assert {path.name for path in own} >= {"config.toml", "learned.json", "latimer.log"}
    assert not [path for path in own if path.stat().st_mode & 0o077]
    assert run.lines
    assert not found(b"".join(run.lines), KEY, TOKEN)


class _Runner:
    """Runs commands in an empty home, and keeps what they print and the command lines of what they start."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.said: list[str] = []
        self.lines: list[bytes] = []

    def __call__(self, *arguments: str, codes: Sequence[int] = (0,), **variables: str) -> None:
        home = self._home
        folders = {"HOME": home, "XDG_CONFIG_HOME": home / ".config", "XDG_STATE_HOME": home / ".state"}
        environment = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(home / "tmp"),
            **{name: str(folder) for name, folder in folders.items()},
            **VARIABLES,
            **variables,
        }
        command = [sys.executable, "-m", "latimer", *arguments]
        with (home / "out").open("w+b") as out:
            child = subprocess.Popen(
                command, env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
            while child.poll() is None:
                self.lines += commands(child.pid).values()
                time.sleep(0.1)
            out.seek(0)
            said = out.read().decode()
        (home / "out").unlink()
        assert child.returncode in codes, (arguments, child.returncode, said)
        self.said.append(said)
