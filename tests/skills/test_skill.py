"""The skill, followed literally: the commands of SKILL.md in their order, in an empty home, its words filled in."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from latimer import __version__
from tests.interop.claude import NEWEST, OLDER, ROOT, binary
from tests.interop.sdk import MODEL, post, user
from tests.latimer_process import READY
from tests.scenarios.replies import Say
from tests.upstream import Upstream

SKILL = ROOT / "skills" / "claude-code-custom-model-proxy"
TEXT = (SKILL / "SKILL.md").read_text("utf-8")
SCRIPT = SKILL / "scripts" / "claude_code_proxy.py"
FRONT, BODY = re.fullmatch(r"---\n(.*?)\n---\n(.*)", TEXT, re.DOTALL).groups()  # type: ignore[union-attr]
KEY = "sk-skill-0123456789abcdef"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="the skill's commands are for a POSIX shell")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(lambda _: Say("OK"), key=KEY) as server:
        yield server
    assert server.refused == []


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A user's home. What a failed test has left running in it is ended."""
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "settings.json").write_text('{"theme":   "light"}')
    yield tmp_path
    for process in left_running(tmp_path):
        os.kill(process, signal.SIGKILL)


# --- front matter ---


def test_what_claude_code_reads() -> None:
    """The limits are those of the Agent Skills specification."""
    front = yaml.safe_load(FRONT)
    assert front["name"] == SKILL.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", front["name"])
    assert 50 < len(front["description"]) <= 1024
    assert len(front["name"]) <= 64
    assert set(front) == {"name", "description", "metadata"}


def test_what_openclaw_reads() -> None:
    """Every variable that the skill or its script speaks of is declared, and none that is needed always."""
    declared = yaml.safe_load(FRONT)["metadata"]["openclaw"]
    assert set(declared) == {"os", "requires", "envVars"}
    assert set(declared["requires"]) <= {"bins", "anyBins", "env", "config"}
    assert "latimer" in declared["requires"]["anyBins"]
    assert set(declared["os"]) <= {"linux", "darwin", "win32"}
    names = {variable["name"] for variable in declared["envVars"]}
    assert all(variable["description"] and variable["required"] is False for variable in declared["envVars"])
    spoken = re.findall(r"\b(?:[A-Z]+_)+[A-Z]+\b", BODY + SCRIPT.read_text("utf-8"))
    assert {name for name in spoken if not name.startswith(("ANTHROPIC_", "XDG_"))} <= names


def test_the_warnings_stand_before_the_first_command() -> None:
    before = BODY[: BODY.index("```")].lower()
    for word in ("where prompts go", "what is stored", "never ask for the key", "keyring", "provider"):
        assert word in before
    assert not re.search(r"https?://", TEXT), "a host of somebody's choice"


# --- the commands ---


def commands(part: str) -> list[str]:
    """The shell blocks below one heading; of the two ways to name a provider, the one for any other."""
    section = BODY.split(f"\n## {part}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^( *)```sh\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
    texts = [re.sub(f"^{indent}", "", text, flags=re.MULTILINE) for indent, text in blocks]
    return [text for text in texts if not text.startswith("# listed")]


def filled(text: str, upstream: Upstream) -> str:
    words = {"NAME": "acme", "URL": upstream.url, "VARIABLE": "ACME_API_KEY", "MODEL": "m"}
    return re.sub(r"\b(NAME|URL|VARIABLE|MODEL)\b", lambda word: words[word[0]], text)


def run(text: str, home: Path, port: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(home),
        "ACME_API_KEY": KEY,
        "LATIMER_PORT": port,
        "DISABLE_AUTOUPDATER": "1",
        # Lets root run Claude Code, as containers do.
        "IS_SANDBOX": "1",
    }
    return execute(["bash", "-euo", "pipefail", "-c", text], home, environment, 120)


def execute(
    command: list[str], home: Path, environment: dict[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def files(home: Path) -> dict[str, bytes]:
    """Everything below a home, but what Claude Code writes there for itself."""
    own = re.compile(r"\.claude\.json.*|\.claude/(?!settings).*|\.cache/claude.*|\.npm/.*|\.local/share/claude/.*")
    found = {path.relative_to(home).as_posix(): path for path in home.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(found.items()) if not own.fullmatch(name)}


@POSIX
@pytest.mark.timeout(400)
@pytest.mark.parametrize("parts", [["Set it up"], ["Set it up", "Keep it running for an editor"]])
def test_followed_literally(upstream: Upstream, home: Path, parts: list[str]) -> None:
    """To a working setup, and back to where it began."""
    before = files(home)
    port = free_port()
    outputs = []
    for part in parts:
        for command in commands(part):
            done = run(filled(command, upstream), home, port)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            outputs.append(done.stdout)
    assert __version__ in outputs[0]
    if parts[-1] == "Set it up":
        assert outputs[-1].strip() == "OK"
    else:
        done = run(f"{binary(NEWEST)} -p 'Reply with the word OK.'", home, port)
        assert done.stdout.strip() == "OK", done.stderr
    assert upstream.last.body["model"] == "m"
    there = files(home)
    assert ".config/latimer/config.toml" in there
    assert not [name for name, content in there.items() if KEY.encode() in content]
    for command in commands("Undo it"):
        done = run(filled(command, upstream), home, port)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert files(home) == before
    assert left_running(home) == {}


def free_port() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return str(listener.getsockname()[1])


def left_running(home: Path) -> dict[int, str]:
    """The command lines of processes that were started with this home, by their ids, where the system shows them."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if f"HOME={home}".encode() in environment:
            found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def test_the_other_way_to_name_a_provider_differs_in_its_address_only() -> None:
    listed, other = re.findall(r"^ *(latimer init .*)$", BODY, re.MULTILINE)
    assert other.replace(" --base-url URL", "") == listed


# --- the script of old ---


def test_the_script_serves_with_its_old_settings(upstream: Upstream, tmp_path: Path) -> None:
    settings = {
        "UPSTREAM_HOST": f"http://127.0.0.1:{upstream.port}",
        "API_KEY": KEY,
        "FORCED_MODEL": "m",
        "LISTEN_PORT": "0",
        "MAX_RETRIES": "1",
        "BASE_WAIT_SECONDS": "0.1",
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **settings}
    process = subprocess.Popen(
        [sys.executable, SCRIPT],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = READY.fullmatch(process.stdout.readline().strip())
        assert ready, process.communicate()[1]
        status, _, raw = post(ready[1], {"model": MODEL, "max_tokens": 50, "messages": [user("hi")]})
        assert (status, json.loads(raw)["content"][0]["text"]) == (200, "OK")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_the_script_has_no_provider_of_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT], env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "no provider is configured" in done.stderr


def test_the_script_says_how_to_get_latimer(tmp_path: Path) -> None:
    """Without site-packages, this Python has no Latimer."""
    bare = [sys.executable, "-I", "-S", str(SCRIPT)]
    done = subprocess.run(bare, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "pipx install" in done.stderr
    assert "Traceback" not in done.stderr


# --- the plugin ---


def claude(version: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    return execute([str(binary(version)), "plugin", *arguments], home, environment, 60)


def test_the_client_finds_nothing_wrong(tmp_path: Path) -> None:
    for path in (ROOT, SKILL):
        done = claude(NEWEST, tmp_path, "validate", "--strict", str(path))
        assert done.returncode == 0, done.stdout
        done = claude(OLDER, tmp_path, "validate", str(path))
        assert done.returncode == 0, done.stdout
        assert "warning" not in done.stdout.lower()


def test_the_directory_of_plugins_would_take_it(tmp_path: Path) -> None:
    done = claude(NEWEST, tmp_path, "validate", "--profile", "directory", str(SKILL))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", [NEWEST, OLDER])
def test_installed_by_the_client(tmp_path: Path, version: str) -> None:
    for arguments in (("marketplace", "add", str(ROOT)), ("install", "latimer@latimer")):
        done = claude(version, tmp_path, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    listed = json.loads(claude(version, tmp_path, "list", "--json").stdout)
    assert [(plugin["id"], plugin["version"], plugin["enabled"]) for plugin in listed] == [
        ("latimer@latimer", __version__, True)
    ]
    installed = Path(listed[0]["installPath"])
    assert (installed / "SKILL.md").read_text("utf-8") == TEXT
    assert not (installed / "src").exists(), "the plugin is the skill alone"
    done = claude(version, tmp_path, "uninstall", "latimer@latimer")
    assert done.returncode == 0, done.stdout + done.stderr
