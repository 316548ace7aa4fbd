"""The command line: exit codes, streams, what each command prints, and what it imports."""

import importlib.util
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest

from latimer import __version__
from latimer.cli import app
from latimer.cli.run import asked_limits
from latimer.policy.claude_code import TESTED_VERSIONS
from latimer.policy.config import parse
from latimer.policy.knowledge import Finding, RouteKey
from latimer.policy.routing import TIERS
from latimer.shell.state import Store
from tests.latimer_process import Latimer
from tests.shell.harness import upstream

ROOT = Path(__file__).parent.parent
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for the client")
LOCAL = ["--upstream", "http://127.0.0.1:9/v1", "--model", "m"]
CONFIG = """
[providers.local]
base_url = "http://127.0.0.1:9/v1"
[routes]
opus = ["local/a", "local/b"]
default = "local/m"
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    folders = {"HOME": home, "XDG_CONFIG_HOME": home / ".config", "LATIMER_STATE_DIR": home / "state"}
    return {**kept, **{name: str(folder) for name, folder in folders.items()}, **more}


def latimer(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "latimer", *arguments],
        env=environment(home, **more),
        cwd=home,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = list(commands(app))


# --- help, version, wrong usage ---


def test_version(tmp_path: Path) -> None:
    done = latimer(tmp_path, "--version")
    assert done.returncode == 0
    assert done.stdout == f"latimer {__version__}\ntested with Claude Code {' and '.join(TESTED_VERSIONS)}\n"


def test_the_promised_commands() -> None:
    assert {path for path, _ in COMMANDS} >= {
        ("run",),
        ("serve",),
        ("demo",),
        ("env",),
        ("models",),
        ("config", "schema"),
    }


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_help_names_the_variable_of_every_option(path: tuple[str, ...], command: click.Command) -> None:
    text = " ".join(command.get_help(click.Context(command, info_name=path[-1])).split())
    for option in command.params:
        if isinstance(option, click.Option):
            variable = "LATIMER_" + option.opts[0].strip("-").replace("-", "_").upper()
            assert re.search(rf"env var: {variable}\b", text), option.opts


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["env", *LOCAL]])
def test_what_starts_fast_imports_no_http_library(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys\nfrom latimer.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "print([m for m in ('aiohttp', 'uvloop', 'rich', 'pypdf') if m in sys.modules], file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    "arguments", [["frob"], ["serve", "--port", "x"], ["env", "--shell", "zsh"], ["serve", "--frob"]]
)
def test_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    done = latimer(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr


def test_claudes_options_without_the_dashes(tmp_path: Path) -> None:
    done = latimer(tmp_path, "run", "-p", "hello")
    assert done.returncode == 2
    assert "go after --" in done.stderr


@pytest.mark.parametrize("command", ["serve", "run", "env", "models"])
def test_without_a_provider_every_command_says_how_to_get_one(tmp_path: Path, command: str) -> None:
    done = latimer(tmp_path, command)
    assert (done.returncode, done.stdout) == (2, "")
    assert "latimer: no provider is configured" in done.stderr
    assert "latimer run --upstream" in done.stderr
    assert str(tmp_path) in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[servr]\n", "servr: no such key; did you mean server?"),
        (b"\xff\xfe", "could not be read: it is not UTF-8 text"),
        (None, "there is no such file (--config, LATIMER_CONFIG)"),
    ],
)
def test_a_configuration_that_can_not_work(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "my.toml"
    if content is not None:
        path.write_bytes(content)
    done = latimer(tmp_path, "serve", "--config", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_key_names_its_provider_and_variable(tmp_path: Path) -> None:
    done = latimer(tmp_path, "serve", *LOCAL, "--port", "0", "--api-key-env", "NO_SUCH_KEY")
    assert done.returncode == 2
    assert "providers.upstream.api_key: the environment variable NO_SUCH_KEY is not set" in done.stderr
    assert "Traceback" not in done.stderr


# --- where settings come from ---


def test_the_users_own_file(tmp_path: Path) -> None:
    path = tmp_path / ".config" / "latimer" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(CONFIG)
    # The folder is macOS's and Windows's own there.
    more = {} if sys.platform == "linux" else {"LATIMER_CONFIG": str(path)}
    done = latimer(tmp_path, "models", **more)
    assert (done.returncode, done.stdout) == (0, "opus     local/a, then local/b\ndefault  local/m\n")


def test_flags_then_variables_then_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(CONFIG)
    models = ["models", "--config", str(path)]
    assert latimer(tmp_path, *models, LATIMER_MODEL="local/x").stdout == "default  local/x\n"
    assert latimer(tmp_path, *models, "--model", "local/y", LATIMER_MODEL="local/x").stdout == "default  local/y\n"


def test_the_seeds_variables_give_way_to_flags(tmp_path: Path) -> None:
    seed = {"UPSTREAM_HOST": "https://api.example.com", "FORCED_MODEL": "seeded"}
    assert latimer(tmp_path, "models", **seed).stdout == "default  example/seeded\n"
    assert latimer(tmp_path, "models", "--model", "other", **seed).stdout == "default  example/other\n"
    assert latimer(tmp_path, "models", *LOCAL, **seed).stdout == "default  upstream/m\n"


# --- models, config schema ---


def test_models_as_json(tmp_path: Path) -> None:
    answer = json.loads(latimer(tmp_path, "models", *LOCAL, "--json").stdout)
    assert answer["routes"] == {"default": ["upstream/m"]}
    assert answer["models"][0]["id"] == "claude-via-upstream/m"
    assert answer["facts"]["upstream/m"]["context_window"] is None


KNOWN = """
[providers.minimax]
[[providers.minimax.models]]
match = "known"
request = { context_window = 204800, max_output = 131072 }
prices = { input = 0.3, output = 1.2, cache_read = 0.06, tiers = [] }
[[providers.minimax.models]]
match = "dearer"
prices = { input = 2, output = 10.5, tiers = [{ above = 200000, input = 4, output = 21 }] }
[routes]
default = ["minimax/known", "minimax/dearer"]
"""


def test_models_shows_what_is_known_of_them(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(KNOWN)
    shown = latimer(tmp_path, "models", "--config", str(path)).stdout.splitlines()
    assert shown[:2] == ["default  minimax/known, then minimax/dearer", ""]
    assert [line.split() for line in shown[3:5]] == [
        ["minimax/known", "messages", "204,800", "131,072", "0.3", "1.2", "0.06", "-"],
        ["minimax/dearer", "messages", "-", "-", "2+", "10.5+", "-", "-"],
    ]
    assert "US dollars per million tokens" in shown[-1]
    facts = json.loads(latimer(tmp_path, "models", "--config", str(path), "--json").stdout)["facts"]
    assert facts["minimax/known"]["max_output"] == 131_072
    assert facts["minimax/known"]["images"] is False
    assert facts["minimax/known"]["prices"]["cache_write"] is None
    assert facts["minimax/dearer"]["prices"]["tiers"][0]["above"] == 200_000


def test_models_shows_what_was_learned(tmp_path: Path) -> None:
    state = tmp_path / "state"
    overlay = {"endpoint": {"dialect": "messages"}, "request": {"context_window": 12_345}}
    key = RouteKey("upstream", "http://127.0.0.1:9/v1", "m")
    Store(state).change(lambda kept: kept.having(key, Finding(overlay, "it was asked", "probe", int(time.time()))))
    command = ["models", "--upstream", key.base_url, "--model", "m", "--state-dir", str(state)]
    assert latimer(tmp_path, *command).stdout.splitlines()[3].split()[:3] == ["upstream/m", "messages", "12,345"]
    answer = json.loads(latimer(tmp_path, *command, "--json").stdout)
    assert answer["facts"]["upstream/m"]["dialect"] == "messages"
    assert answer["models"][0]["max_input_tokens"] == 12_345


async def test_run_asks_for_limits_that_are_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    small = {"id": "small", "context_length": 90_000, "max_completion_tokens": 8000}
    listed = {"data": [{"id": "big", "context_length": 300_000}, small]}
    async with upstream(others={"/v1/models": listed}) as script:
        providers = f'[providers.openai]\n[providers.own]\nbase_url = "{script.url}"\n'
        routes = '[routes]\nopus = "own/big"\nsonnet = "own/small"\nhaiku = "openai/gpt-4o"\n'
        found = await asked_limits(parse(providers + routes, "my.toml"))
        assert (found.context_window, found.max_output) == (90_000, 8000)
        assert found.windows["claude-via-own/big"] == 300_000
        assert len(script.asked) == 2
        known = '[[providers.own.models]]\nmatch = "*"\nrequest.context_window = 100000\n'
        found = await asked_limits(parse(providers + known + routes, "my.toml"))
        assert (found.context_window, found.max_output) == (100_000, 0)
        assert len(script.asked) == 2
        assert capsys.readouterr().err == ""
        found = await asked_limits(parse(f'{providers}[routes]\nopus = "own/x"\n', "my.toml"))
        assert (found.context_window, found.max_output) == (0, 0)
        assert "the context window of own/x is unknown" in capsys.readouterr().err


def test_env_has_the_window_of_a_known_model(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('[providers.openai]\n[routes]\nopus = "openai/gpt-4o"\n')
    arguments = ["env", "--config", str(path), "--shell", "json"]
    found = json.loads(latimer(tmp_path, *arguments).stdout)
    assert found["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "128000"
    assert found["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "16384"
    said = json.loads(latimer(tmp_path, *arguments, "--context-window", "110000").stdout)
    assert said["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "110000"


def test_config_schema(tmp_path: Path) -> None:
    done = latimer(tmp_path, "config", "schema")
    assert json.loads(done.stdout)["title"] == "Latimer configuration"


# --- env ---


def test_env_as_json(tmp_path: Path) -> None:
    done = latimer(tmp_path, "env", *LOCAL, "--port", "4100", "--shell", "json", LATIMER_TOKEN="tok")
    variables = json.loads(done.stdout)
    assert variables["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:4100"
    assert variables["ANTHROPIC_AUTH_TOKEN"] == "tok"
    for tier in TIERS:
        assert variables[f"ANTHROPIC_DEFAULT_{tier.upper()}_MODEL"] == "claude-via-upstream/m"


@POSIX
def test_env_for_a_posix_shell(tmp_path: Path) -> None:
    model = "it's $HOME `x` \\ m"
    done = latimer(tmp_path, "env", "--upstream", "http://h/v1", "--model", model, ANTHROPIC_API_KEY="old")
    script = f'{done.stdout}\nprintf "%s\\n" "$ANTHROPIC_DEFAULT_OPUS_MODEL_NAME" "${{ANTHROPIC_API_KEY-gone}}"'
    shell = subprocess.run(
        ["/bin/sh", "-c", script], env={"ANTHROPIC_API_KEY": "old"}, capture_output=True, text=True, check=True
    )
    assert shell.stdout.splitlines() == [model, "gone"]


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("fish", "set -gx ANTHROPIC_DEFAULT_OPUS_MODEL_NAME 'it\\'s'"),
        ("powershell", "$env:ANTHROPIC_DEFAULT_OPUS_MODEL_NAME = 'it''s'"),
    ],
)
def test_env_for_other_shells(tmp_path: Path, shell: str, line: str) -> None:
    arguments = ["env", "--upstream", "http://h/v1", "--model", "it's", "--shell", shell]
    done = latimer(tmp_path, *arguments, ANTHROPIC_API_KEY="old")
    assert line in done.stdout.splitlines()
    removal = {"fish": "set -e ANTHROPIC_API_KEY", "powershell": "Remove-Item Env:ANTHROPIC_API_KEY"}[shell]
    assert done.stdout.splitlines()[0] == removal


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:4002"), ("::1", "http://[::1]:4002"), ("10.0.0.1", "http://10.0.0.1:4002")],
)
def test_the_address_of_env(tmp_path: Path, host: str, url: str) -> None:
    done = latimer(tmp_path, "env", *LOCAL, "--host", host, "--shell", "json", LATIMER_TOKEN="tok")
    assert json.loads(done.stdout)["ANTHROPIC_BASE_URL"] == url


def test_env_needs_a_real_port(tmp_path: Path) -> None:
    done = latimer(tmp_path, "env", *LOCAL, "--port", "0")
    assert done.returncode == 2
    assert "--port N" in done.stderr


# --- serve ---


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_serve_says_one_line_and_stops_when_told(tmp_path: Path, number: signal.Signals, code: int) -> None:
    server = Latimer([*LOCAL, "--port", "0"], home=tmp_path).ready()
    server.process.send_signal(number)
    assert server.exit_code() == code
    assert re.fullmatch(r"latimer: listening on http://127\.0\.0\.1:\d+\n", server.stdout)
    assert "Traceback" not in server.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = latimer(tmp_path, "serve", *LOCAL, "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    assert "--port N (LATIMER_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_this_machine_does_not_have(tmp_path: Path) -> None:
    done = latimer(tmp_path, "serve", *LOCAL, "--host", "192.0.2.1", LATIMER_TOKEN="tok")
    assert done.returncode == 1
    assert "change --host" in done.stderr


def test_the_log_goes_where_it_is_told(tmp_path: Path) -> None:
    log = tmp_path / "latimer.log"
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        upstream = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        flags = ["--upstream", upstream, "--model", "m", "--port", "0", "--log-file", str(log), "--log-level", "debug"]
        server = Latimer(flags, home=tmp_path).ready()
        server.stop()
    assert server.stderr == ""
    assert "prompts go to" in log.read_text()
    assert os.name != "posix" or stat.S_IMODE(log.stat().st_mode) == 0o600


# --- run ---


def fake_claude(folder: Path, body: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "claude"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@POSIX
def test_run_passes_arguments_streams_and_the_exit_code(tmp_path: Path) -> None:
    body = 'for a in "$@"; do echo "<$a>"; done; cat; echo words >&2; exit 7'
    claude = fake_claude(tmp_path / "bin", body)
    command = [sys.executable, "-m", "latimer", "run", *LOCAL, "--context-window", "200000", "--"]
    arguments = ["-p", "say hello", "--model", "sonnet", "--", "-x", ""]
    path = f"{claude.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*command, *arguments],
        env=environment(tmp_path, PATH=path),
        input="from stdin\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    told, settings, *own = done.stdout.splitlines()
    assert told == "<--settings>"
    assert json.loads(settings[1:-1])["env"]["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "200000"
    assert own == [*(f"<{argument}>" for argument in arguments), "from stdin"]
    assert (done.stderr, done.returncode) == ("words\n", 7)


@POSIX
def test_run_gives_claude_a_private_proxy_and_nothing_else(tmp_path: Path) -> None:
    answer = (
        "import json, os, urllib.request as u;"
        "base = os.environ['ANTHROPIC_BASE_URL'] + '/v1/models';"
        "token = os.environ['ANTHROPIC_AUTH_TOKEN'];"
        "found = u.urlopen(u.Request(base, headers={'authorization': 'Bearer ' + token})).status;"
        "print(json.dumps([found, dict(os.environ)]))"
    )
    claude = fake_claude(tmp_path / "bin", f'exec {sys.executable} -c "{answer}"')
    flags = [*LOCAL, "--context-window", "200000", "--claude", str(claude)]
    runs = [
        json.loads(latimer(tmp_path, "run", *flags, ANTHROPIC_API_KEY="old", LATIMER_PORT="4002").stdout)
        for _ in range(2)
    ]
    for status, variables in runs:
        assert status == 200
        assert "ANTHROPIC_API_KEY" not in variables
        assert variables["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] == "200000"
        port = int(variables["ANTHROPIC_BASE_URL"].rsplit(":", 1)[1])
        with closing(socket.socket()) as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, "the proxy outlived its client"
    (_, first), (_, second) = runs
    assert first["ANTHROPIC_AUTH_TOKEN"] != second["ANTHROPIC_AUTH_TOKEN"]
    assert len(first["ANTHROPIC_AUTH_TOKEN"]) >= 32


@POSIX
def test_run_says_how_to_set_an_unknown_window(tmp_path: Path) -> None:
    claude = fake_claude(tmp_path / "bin", "env")
    done = latimer(tmp_path, "run", *LOCAL, "--claude", str(claude))
    assert "AUTO_COMPACT" not in done.stdout
    reason, window = done.stderr.splitlines()
    assert "nothing accepts connections there" in reason, "Claude Code would try it for minutes before it says so"
    assert "upstream/m is unknown" in window
    assert "--context-window N" in window


@POSIX
def test_run_keeps_keys_from_claude_where_it_is_asked_to(tmp_path: Path) -> None:
    claude = fake_claude(tmp_path / "bin", "env")
    flags = [*LOCAL, "--api-key-env", "ACME_KEY", "--context-window", "200000", "--claude", str(claude)]
    given = {"ACME_KEY": "key-of-acme", "OTHER_KEY": "key-of-others"}
    shown, withheld = (latimer(tmp_path, "run", *flags, *more, **given).stdout for more in ([], ["--withhold-keys"]))
    assert "ACME_KEY=key-of-acme" in shown
    assert "key-of-acme" not in withheld
    assert "OTHER_KEY=key-of-others" in withheld


def test_the_demo_without_its_extra_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise ModuleNotFoundError(\"No module named 'rich'\", name='rich')")
    done = latimer(tmp_path, "demo", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "latimer[demo]" in done.stderr
    assert "Traceback" not in done.stderr


ASKS_TWICE = """
import json, os, pathlib, sys, time, urllib.request as u

def models():
    token = {"authorization": "Bearer " + os.environ["ANTHROPIC_AUTH_TOKEN"]}
    answer = u.urlopen(u.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/models?limit=100", headers=token))
    return {model["id"] for model in json.load(answer)["data"]}

print("claude-via-local/m" in models())
file = pathlib.Path(sys.argv[1])
file.write_text("[server]\\nport = 1\\n" + file.read_text().replace("local/m", "local/newer"))
deadline = time.monotonic() + 20
while "claude-via-local/newer" not in models():
    assert time.monotonic() < deadline
    time.sleep(0.1)
print("newer")
"""


@POSIX
def test_run_reads_its_file_again(tmp_path: Path) -> None:
    """Its own address and token stay, whatever the file says."""
    config, script = tmp_path / "c.toml", tmp_path / "asks.py"
    config.write_text(CONFIG)
    script.write_text(ASKS_TWICE)
    claude = fake_claude(tmp_path / "bin", f"exec {sys.executable} {script} {config}")
    flags = ["--config", str(config), "--context-window", "200000", "--claude", str(claude)]
    done = latimer(tmp_path, "run", *flags)
    assert (done.stdout, done.returncode) == ("True\nnewer\n", 0), done.stderr


FAILING = """
import importlib, logging
from latimer.cli import main
run = importlib.import_module("latimer.cli.run")
async def fails(*_):
    logging.getLogger("latimer").error("req_1: unexpected KeyError\\n  File ...")
    return 3
run._Session.run = fails
main()
"""


@POSIX
def test_run_tells_of_errors_inside_the_proxy_once_the_screen_is_free(tmp_path: Path) -> None:
    claude = fake_claude(tmp_path / "bin", "exit 0")
    command = [sys.executable, "-c", FAILING, "run", *LOCAL, "--claude", str(claude)]
    done = subprocess.run(
        command, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 3
    assert "latimer: 1 internal error while it ran, the last: req_1: unexpected KeyError; see them all" in done.stderr


@POSIX
def test_run_without_claude(tmp_path: Path) -> None:
    done = latimer(tmp_path, "run", *LOCAL, "--claude", str(tmp_path / "nothing"))
    assert done.returncode == 2
    assert "is not a program that can be run" in done.stderr


def test_what_was_learned_is_told_to_claude_code(tmp_path: Path) -> None:
    found = Finding({"request": {"context_window": 150_000}}, "it was probed", "probe", int(time.time()))
    key = RouteKey("upstream", LOCAL[1], "m")
    Store(tmp_path / "state").change(lambda kept: kept.having(key, found))
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS=150000" in latimer(tmp_path, "env", *LOCAL).stdout
    claude = fake_claude(tmp_path / "bin", "env")
    done = latimer(tmp_path, "run", *LOCAL, "--claude", str(claude))
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS=150000" in done.stdout
    assert done.stderr == ""
    elsewhere = latimer(tmp_path, "env", *LOCAL, "--state-dir", str(tmp_path / "none"))
    assert "CONTEXT_TOKENS" not in elsewhere.stdout


# --- the documentation ---


def test_the_page_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.PAGE.read_text("utf-8") == generate.page(), "run: python docs/generate.py"
    assert generate.CHAT_PAGE.read_text("utf-8") == generate.chat_page(), "run: python docs/generate.py"
    assert generate.RESPONSES_PAGE.read_text("utf-8") == generate.responses_page(), "run: python docs/generate.py"
    assert generate.MESSAGES_PAGE.read_text("utf-8") == generate.messages_page(), "run: python docs/generate.py"
    assert generate.DOCTOR_PAGE.read_text("utf-8") == generate.doctor_page(), "run: python docs/generate.py"
