"""For each check, how its finding comes about; and where its cure needs somebody, what they do.

A scenario breaks a healthy world. It returns None where `cures.follow` can do what the finding says, else a function
that does it, which reads the finding where the cure has anything to read.
"""

import errno
import json
import re
import resource
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from latimer import __version__
from latimer.policy.config import parse
from latimer.policy.knowledge import Finding as Lesson
from latimer.policy.knowledge import key_of
from latimer.shell import doctor_machine, doctor_network
from latimer.shell.instance import Identity, InstanceFiles, Record, ask
from latimer.shell.state import Store
from tests.doctor import servers
from tests.doctor.cures import follow
from tests.doctor.world import HEALTH, KEY, KEY_VARIABLE, TOKEN, Finding, World
from tests.latimer_process import Latimer, serving

Cure = Callable[[Finding], None]
Scenario = Callable[[World], Cure | None]

SCENARIOS: list[tuple[str, Scenario]] = []
"""The check's id and how it is triggered; several may trigger one."""


def triggers(check: str) -> Callable[[Scenario], Scenario]:
    def add(scenario: Scenario) -> Scenario:
        SCENARIOS.append((check, scenario))
        return scenario

    return add


def said(finding: Finding, pattern: str) -> str:
    """What the cure says, where it has this form."""
    match = re.search(pattern, finding["cure"])
    assert match, finding["cure"]
    return match[1]


# --- configuration ---


@triggers("config-missing")
def no_configuration(world: World) -> Cure:
    world.config.unlink()

    def cure(finding: Finding) -> None:
        command = said(finding, "`(latimer init)`")
        flags = f"--base-url {world.provider.url} --model m --api-key-env {KEY_VARIABLE} --no-check"
        world.shell(f"{command} {flags}")
        world.change("server.port", world.port)
        world.change("web_search.backend", "duckduckgo")  # what a healthy one has besides
        world.change("auto_mode.classifier", parse(world.config.read_text(), "").routes["default"][0])

    return cure


@triggers("config-unreadable")
def not_utf_8(world: World) -> Cure:
    world.config.write_bytes("# Schlüssel\n".encode("latin-1") + world.config.read_bytes())

    def cure(finding: Finding) -> None:
        assert "UTF-8" in finding["cure"]
        world.config.write_text(world.config.read_bytes().decode("latin-1"))

    return cure


@triggers("config-unreadable")
def not_there(world: World) -> Cure:
    world.arguments += ["--config", str(world.root / "none.toml")]

    def cure(finding: Finding) -> None:
        assert f"latimer init --config {world.root / 'none.toml'}" in finding["cure"]
        option = said(finding, "`(--config) FILE`")
        world.arguments[:] = [option, str(world.config)]

    return cure


@triggers("config-syntax")
def not_toml(world: World) -> None:
    world.config.write_text(world.config.read_text() + "\nthis is = not = toml\n")


@triggers("config-invalid")
def unknown_key(world: World) -> None:
    world.config.write_text(world.config.read_text().replace("port =", "portx ="))


@triggers("config-invalid")
def unknown_table(world: World) -> None:
    world.config.write_text(world.config.read_text().replace("[routes]", "[routesx]"))


@triggers("config-secret")
def key_in_the_file(world: World) -> Cure:
    world.change("providers.local.api_key", "sk-literal-0123456789")

    def cure(finding: Finding) -> None:
        reference = said(finding, 'write "(env:\\w+)" in its place')
        world.set(reference.removeprefix("env:"), KEY)
        world.change("providers.local.api_key", reference)

    return cure


@triggers("config-provider")
def unknown_provider(world: World) -> None:
    world.change("routes.default", "localx/m")


@triggers("config-no-route")
def no_route(world: World) -> None:
    world.change("routes", None)


@triggers("config-open")
def open_to_all(world: World) -> None:
    world.change("server.host", "0.0.0.0")


@triggers("tier-unrouted")
def one_tier_only(world: World) -> None:
    world.change("routes", {"opus": "local/m"})


@triggers("web-search-off")
def no_search(world: World) -> None:
    world.change("web_search", None)


@triggers("auto-mode-off")
def no_classifier(world: World) -> None:
    world.change("auto_mode", None)


@triggers("learned")
def learned(world: World) -> None:
    provider = parse(world.config.read_text(), "x").providers["local"]
    lesson = Lesson({"request": {"top_k": False}}, "it takes no top_k", "refusal", int(time.time()) - 100)
    Store(world.state).change(lambda kept: kept.having(key_of(provider, "m"), lesson))
    (world.state / "learned.lock").chmod(0o600)


# --- keys ---


@triggers("key-unset")
def no_key(world: World) -> None:
    world.unset(KEY_VARIABLE)


@triggers("key-empty")
def empty_key(world: World) -> None:
    world.set(KEY_VARIABLE, "")


@triggers("key-unusable")
def two_lines(world: World) -> None:
    world.set(KEY_VARIABLE, "first\nsecond")


@triggers("key-unusable")
def smart_quote(world: World) -> None:
    world.set(KEY_VARIABLE, f"“{KEY}”")


@triggers("key-reference")
def no_key_file(world: World) -> None:
    world.change("providers.local.api_key", f"file:{world.home}/key")


@triggers("key-reference")
def failing_command(world: World) -> Cure:
    program = world.program("give-key", "exit 1")
    world.change("providers.local.api_key", f"command:{program}")

    def cure(finding: Finding) -> None:
        path = said(finding, "run the command of (\\S+) by hand until it prints the key")
        assert path == "providers.local.api_key"
        world.program("give-key", f"echo {KEY}")

    return cure


@triggers("key-reference")
def not_in_the_keyring(world: World) -> Cure:
    stored: dict[tuple[str, str], str] = {}
    keyring = SimpleNamespace(get_password=lambda service, name: stored.get((service, name)))
    world.patch.setitem(sys.modules, "keyring", keyring)
    world.change("providers.local.api_key", "keyring:mine")

    def cure(finding: Finding) -> None:
        service, name = said(finding, "`keyring set ([^`]+)`, and give it the key").split()
        stored[service, name] = KEY

    return cure


@triggers("key-reference")
def no_keyring_package(world: World) -> Cure:
    world.patch.setitem(sys.modules, "keyring", None)
    world.change("providers.local.api_key", "keyring:mine")

    def cure(finding: Finding) -> None:
        follow(world, finding)
        assert sys.modules.get("keyring", ...) is not None
        world.patch.setitem(sys.modules, "keyring", SimpleNamespace(get_password=lambda *_: KEY))

    return cure


@triggers("key-shape")
def quoted_key(world: World) -> Cure:
    world.provider.key = f'"{KEY}"'  # so that only the look of it is wrong
    world.set(KEY_VARIABLE, f'"{KEY}"')
    return _and_the_provider(world)


@triggers("key-shape")
def placeholder(world: World) -> Cure:
    world.provider.key = "your-api-key-here"
    world.set(KEY_VARIABLE, "your-api-key-here")
    return _and_the_provider(world)


@triggers("key-shape")
def bearer(world: World) -> Cure:
    world.provider.key = f"Bearer {KEY}"
    world.set(KEY_VARIABLE, f"Bearer {KEY}")
    return _and_the_provider(world)


def _and_the_provider(world: World) -> Cure:
    def cure(finding: Finding) -> None:
        follow(world, finding)
        world.provider.key = KEY

    return cure


@triggers("key-file-open")
def open_key_file(world: World) -> None:
    path = world.home / "my key"
    path.write_text(KEY)
    path.chmod(0o644)
    world.change("providers.local.api_key", f"file:{path}")


@triggers("key-leaked")
def key_in_a_log(world: World) -> None:
    log = world.state / "latimer.log"
    log.write_text(f"authorization: Bearer {KEY}\n")
    log.chmod(0o600)


@triggers("token-unset")
def no_token(world: World) -> None:
    world.change("server.token", "env:MY_GATEWAY_TOKEN")


# --- files ---


@triggers("file-open")
def open_configuration(world: World) -> None:
    world.config.chmod(0o664)


@triggers("file-open")
def open_state(world: World) -> None:
    world.state.chmod(0o755)


@triggers("file-open")
def open_log(world: World) -> None:
    log = world.root / "a log"
    log.write_text("")
    log.chmod(0o644)
    world.set("LATIMER_LOG_FILE", str(log))


@triggers("learned-unreadable")
def bad_learned(world: World) -> None:
    path = world.state / "learned.json"
    path.write_text('{"version": 99}')
    path.chmod(0o600)


@triggers("prompts-logged")
def prompt_log(world: World) -> None:
    log = world.state / "prompts.jsonl"
    log.write_text("{}")
    log.chmod(0o600)
    world.change("server.prompt_log", str(log))


@triggers("state-unusable")
def a_file_in_the_way(world: World) -> None:
    world.state.rmdir()
    world.state.write_text("")
    world.state.chmod(0o600)


# --- network ---


@triggers("proxy-invalid")
def bad_proxy(world: World) -> None:
    world.set("HTTPS_PROXY", "http://user:password@proxy.test:port")


@triggers("proxy-invalid")
def unknown_proxy(world: World) -> None:
    world.set("ALL_PROXY", "ftp://proxy.test:21")


@triggers("proxy-socks")
def no_socks(world: World) -> None:
    world.missing.add("python_socks")
    world.set("ALL_PROXY", "socks5://127.0.0.1:1080")


@triggers("trust-unusable")
def no_roots(world: World) -> None:
    world.set("SSL_CERT_FILE", str(world.root / "none.pem"))


@triggers("trust-unusable")
def no_certificate(world: World) -> None:
    (world.root / "empty.pem").write_text("")
    world.set("SSL_CERT_FILE", str(world.root / "empty.pem"))


@triggers("provider-setting")
def no_ca_file(world: World) -> Cure:
    path = world.root / "ca.pem"
    world.change("providers.local.ca_file", str(path))

    def cure(finding: Finding) -> None:
        assert str(path) in finding["what"]
        assert "mend what it names" in finding["cure"]
        world.certificate().rename(path)

    return cure


@triggers("proxy-unreachable")
def dead_proxy(world: World) -> Cure:
    port = world.reserved_port()
    world.set("HTTP_PROXY", f"http://127.0.0.1:{port}")
    world.change("providers.local.base_url", "http://provider.test/v1")

    def cure(finding: Finding) -> None:
        assert said(finding, "check the proxy ([^;]+);") == f"http://127.0.0.1:{port}"
        world.start(servers.serving(world.provider, port=port))

    return cure


@triggers("proxy-unreachable")
def dead_proxy_of_its_own(world: World) -> Cure:
    world.change("providers.local.proxy", f"http://127.0.0.1:{world.reserved_port()}")

    def cure(finding: Finding) -> None:
        follow(world, {**finding, "cure": finding["cure"].split("to go past it: ")[1]})

    return cure


@triggers("provider-dns")
def no_such_host(world: World) -> Cure:
    world.change("providers.local.base_url", "http://no-such-host.invalid/v1")
    return _base_url(world)


def _base_url(world: World, url: str = "") -> Cure:
    def cure(finding: Finding) -> None:
        assert said(finding, "mend `base_url` under `\\[providers\\.local\\]` of (\\S+)") == str(world.config)
        world.change("providers.local.base_url", url or world.provider.url)

    return cure


@triggers("provider-dns")
def no_name_at_all(world: World) -> Cure:
    world.change("providers.local.base_url", "http://a..b/v1")
    return _base_url(world)


@triggers("provider-refused")
def not_started(world: World) -> Cure:
    port = world.reserved_port()
    world.change("providers.local.base_url", f"http://127.0.0.1:{port}/v1")

    def cure(finding: Finding) -> None:
        assert said(finding, "start its server, so that it listens on port (\\d+)") == str(port)
        world.start(servers.serving(world.provider, port=port))

    return cure


@triggers("provider-silent")
def hanging(world: World) -> Cure:
    world.patch.setattr(doctor_network, "ASK_SECONDS", 0.2)
    world.provider.hangs = True

    def cure(finding: Finding) -> None:
        assert "start its server" in finding["cure"]
        world.provider.hangs = False
        world.patch.setattr(doctor_network, "ASK_SECONDS", 30.0)

    return cure


@triggers("tls-authority")
def unknown_authority(world: World) -> Cure:
    own = world.certificate()
    world.start(servers.serving(world.provider, certificate=own))
    world.change("providers.local.base_url", world.provider.url)

    def cure(finding: Finding) -> None:
        assert "get the certificate of the authority" in finding["cure"]
        follow(world, {**finding, "cure": finding["cure"].replace("/PATH/TO.pem", str(own))})

    return cure


@triggers("tls-authority")
def known_to_node(world: World) -> None:
    own = world.certificate()
    world.start(servers.serving(world.provider, certificate=own))
    world.change("providers.local.base_url", world.provider.url)
    world.set("NODE_EXTRA_CA_CERTS", str(own))


@triggers("tls-expired")
def expired(world: World) -> Cure:
    old = world.certificate(days=-1)
    world.start(servers.serving(world.provider, certificate=old))
    world.change("providers.local", {**world.healthy()["providers"]["local"], "ca_file": str(old)})

    def cure(finding: Finding) -> None:
        assert "has to renew its certificate" in finding["cure"]
        new = world.certificate()
        world.start(servers.serving(world.provider, certificate=new))
        trusted = new.rename(world.root / "renewed.pem")
        world.change("providers.local", {**world.healthy()["providers"]["local"], "ca_file": str(trusted)})

    return cure


@triggers("tls-name")
def another_name(world: World) -> Cure:
    own = world.certificate("localhost")
    world.start(servers.serving(world.provider, certificate=own))
    world.change("providers.local", {**world.healthy()["providers"]["local"], "ca_file": str(own)})

    def cure(finding: Finding) -> None:
        wrong = said(finding, "write a host that the certificate names, instead of (\\S+), into")
        world.change("providers.local.base_url", world.provider.url.replace(wrong, "localhost"))

    return cure


@triggers("tls-broken")
def plain_http(world: World) -> None:
    world.change("providers.local.base_url", world.provider.url.replace("http:", "https:"))


@triggers("provider-key")
def wrong_key(world: World) -> None:
    world.set(KEY_VARIABLE, "sk-another-0123456789abcdef")


@triggers("provider-key")
def no_key_at_all(world: World) -> Cure:
    world.change("providers.local.api_key", None)

    def cure(finding: Finding) -> None:
        follow(world, {**finding, "cure": finding["cure"].replace("env:NAME", f"env:{KEY_VARIABLE}")})

    return cure


@triggers("provider-path")
def without_v1(world: World) -> None:
    world.change("providers.local.base_url", world.provider.url.removesuffix("/v1"))


@triggers("provider-path")
def doubled_v1(world: World) -> None:
    world.change("providers.local.base_url", f"{world.provider.url}/v1")


@triggers("provider-path")
def another_path(world: World) -> None:
    world.change("providers.local.base_url", f"{world.provider.url.removesuffix('/v1')}/api/chat")


@triggers("provider-limited")
def limited(world: World) -> Cure:
    return _status(world, 429, "wait")


@triggers("provider-error")
def out_of_order(world: World) -> Cure:
    return _status(world, 503, "try again")


def _status(world: World, status: int, words: str) -> Cure:
    world.provider.status = status
    world.change("providers.local.request", {"context_window": 131072})

    def cure(finding: Finding) -> None:
        assert words in finding["cure"]
        world.provider.status = 200

    return cure


@triggers("clock-skew")
def wrong_clock(world: World) -> Cure:
    behind = SimpleNamespace(time=lambda: time.time() - 3600, monotonic=time.monotonic)
    world.patch.setattr(doctor_network, "time", behind)

    def cure(finding: Finding) -> None:
        assert "60 minutes behind" in finding["what"]
        assert said(finding, "(set the clock)")
        world.patch.setattr(doctor_network, "time", time)

    return cure


# --- models ---


@triggers("model-unlisted")
def misspelt(world: World) -> Cure:
    world.change("routes.default", "local/othr")

    def cure(finding: Finding) -> None:
        world.change("routes.default", f"local/{said(finding, 'such as ([^, ]+)')}")

    return cure


@triggers("model-no-tools")
def no_tools(world: World) -> None:
    world.provider.tools["m"] = False


@triggers("window-unknown")
def no_window(world: World) -> None:
    world.provider.window = 0


def _small(world: World, window: int) -> Cure:
    world.provider.window = window

    def cure(finding: Finding) -> None:
        larger = said(finding, "start the model's server with a larger one \\(`llama-server -c (\\d+)`")
        world.provider.window = int(larger)

    return cure


@triggers("window-small")
def small_window(world: World) -> Cure:
    return _small(world, 40_000)


@triggers("window-too-small")
def tiny_window(world: World) -> Cure:
    return _small(world, 8192)


@triggers("window-too-small")
def said_too_small(world: World) -> None:
    world.provider.window = 0
    world.change("providers.local.request", {"context_window": 4096})


@triggers("output-small")
def short_answers(world: World) -> None:
    world.provider.output = 1000


@triggers("try-failed")
def failing(world: World) -> Cure:
    world.arguments += ["--try"]
    world.change("retry", {"tries": 1})
    world.provider.chat_status = 500

    def cure(finding: Finding) -> None:
        assert "out of order" in finding["what"]
        assert said(finding, "mend what it names, and see with `latimer doctor (--try)`")
        world.provider.chat_status = 200

    return cure


@triggers("try-no-call")
def talking(world: World) -> None:
    world.arguments += ["--try"]
    world.provider.calls["m"] = False


# --- server ---


@triggers("port-taken")
def taken(world: World) -> None:
    world.start(socket.create_server(("127.0.0.1", world.port)))
    world.patch.setattr("latimer.shell.instance.ASK_SECONDS", 0.2)


@triggers("port-unusable")
def no_such_address(world: World) -> None:
    world.set("LATIMER_TOKEN", TOKEN)
    world.change("server.host", "192.0.2.1")


@triggers("port-unusable")
def no_name_to_listen_on(world: World) -> None:
    world.set("LATIMER_TOKEN", TOKEN)
    world.change("server.host", "a..b")


@triggers("port-unusable")
def no_rights(world: World) -> None:
    def bind(self: socket.socket, address: tuple[str, int]) -> None:
        if address[1] == world.port:
            raise PermissionError(errno.EACCES, "Permission denied")
        self.__class__.__bases__[0].bind(self, address)

    world.patch.setattr(socket.socket, "bind", bind, raising=False)


@triggers("server-version")
def older(world: World) -> Cure:
    running = world.stopping()
    running.enter_context(servers.saying({**HEALTH, "version": "0.0.1"}, world.port))

    def cure(finding: Finding) -> None:
        assert "stop it" in finding["cure"]
        running.close()
        _serve(world, finding)

    return cure


def _serve(world: World, finding: Finding) -> None:
    assert said(finding, "`latimer (serve)`")
    assert world.start(latimer_serve(world)).url.endswith(f":{world.port}")


def latimer_serve(world: World) -> AbstractContextManager[Latimer]:
    """The real one, as `latimer serve` starts it."""
    environment = {name: _environ(name) for name in ("HOME", "PATH", KEY_VARIABLE)}
    return serving([], home=world.home, environment={**environment, "LATIMER_STATE_DIR": str(world.state)})


def _environ(name: str) -> str:
    return doctor_machine.os.environ.get(name, "")


@triggers("server-outdated")
def another_port_since(world: World) -> Cure:
    running = world.stopping()
    running.enter_context(latimer_serve(world))
    _until_noticed(world, lambda: world.change("server.port", world.reserved_port()))

    def cure(finding: Finding) -> None:
        assert "server.port" in finding["what"]
        assert said(finding, "(stop it), and start it anew with `latimer serve`")
        running.close()
        world.start(latimer_serve(world))

    return cure


def _until_noticed(world: World, change: Callable[[], None]) -> None:
    """Change the configuration under a running server; again where that was too early for it to notice."""
    files = InstanceFiles(world.state)
    for _ in range(10):
        change()
        patience = time.monotonic() + 4
        while time.monotonic() < patience:
            record = files.read()
            raw = ask(record)[0] if record else None
            if raw and json.loads(bytes(raw))["config"]["restart"]:
                return
            time.sleep(0.05)
    raise AssertionError("the server did not notice")


@triggers("record-stale")
def killed(world: World) -> None:
    record = Record(Identity.new(), f"http://127.0.0.1:{world.reserved_port()}", str(world.config), __version__)
    InstanceFiles(world.state).write(record)


@triggers("server-reachable")
def on_the_network(world: World) -> None:
    world.set("LATIMER_TOKEN", TOKEN)
    world.change("server.host", "0.0.0.0")


# --- Claude Code ---


@triggers("claude-missing")
def not_installed(world: World) -> Cure:
    (world.bin / "claude").unlink()

    def cure(finding: Finding) -> None:
        assert said(finding, "(npm install -g @anthropic-ai/claude-code)")
        world.program("claude", "echo 2.1.330")

    return cure


@triggers("claude-missing")
def named_wrongly(world: World) -> None:
    world.set("LATIMER_CLAUDE", str(world.root / "nothing"))


@triggers("claude-broken")
def broken_program(world: World) -> Cure:
    world.program("claude", "exit 3")

    def cure(finding: Finding) -> None:
        assert "nstall it anew" in finding["cure"]
        world.program("claude", "echo 2.1.330")

    return cure


@triggers("claude-untested")
def newer(world: World) -> Cure:
    world.program("claude", "echo '9.9.9 (Claude Code)'")

    def cure(finding: Finding) -> None:
        version = said(finding, "`npm install -g @anthropic-ai/claude-code@([\\d.]+)`")
        world.program("claude", f"echo '{version} (Claude Code)'")

    return cure


@triggers("claude-several")
def two_clients(world: World) -> None:
    other = world.program("claude", "echo 2.1.330", world.root / "other-bin")
    world.set("PATH", f"{world.bin}:{other.parent}:/usr/bin:/bin")


@triggers("settings-unreadable")
def broken_settings(world: World) -> Cure:
    return _broken(world, world.settings)


@triggers("settings-unreadable")
def broken_managed_settings(world: World) -> Cure:
    return _broken(world, world.managed / "managed-settings.json")


def _broken(world: World, path: Path) -> Cure:
    world.write_json(path, '{"env": {}\n,}')

    def cure(finding: Finding) -> None:
        assert "line 2, column 2" in finding["what"]
        assert said(finding, "mend ([^;]+);") == str(path)
        world.write_json(path, {"env": {}})

    return cure


@triggers("base-url-elsewhere")
def old_gateway(world: World) -> None:
    world.set("ANTHROPIC_BASE_URL", "https://user:password@gateway.test")


def _elsewhere(world: World, path: Path) -> None:
    world.latimer_listens()  # the environment is right, and the file wins
    path.parent.mkdir(parents=True, exist_ok=True)
    world.write_json(path, {"env": {"ANTHROPIC_BASE_URL": "https://gateway.test"}})


@triggers("base-url-elsewhere")
def elsewhere_by_the_user(world: World) -> None:
    _elsewhere(world, world.settings)


@triggers("base-url-elsewhere")
def elsewhere_by_the_project(world: World) -> None:
    _elsewhere(world, world.project / ".claude" / "settings.json")


@triggers("base-url-elsewhere")
def elsewhere_by_local_settings(world: World) -> None:
    _elsewhere(world, world.project / ".claude" / "settings.local.json")


@triggers("base-url-elsewhere")
def elsewhere_by_the_administrator(world: World) -> None:
    _elsewhere(world, world.managed / "managed-settings.json")


@triggers("base-url-elsewhere")
def elsewhere_by_a_drop_in(world: World) -> None:
    _elsewhere(world, world.managed / "managed-settings.d" / "10.json")


@triggers("base-url-down")
def not_running(world: World) -> Cure:
    world.tell_claude()
    return lambda finding: _serve(world, finding)


@triggers("base-url-down")
def another_port(world: World) -> None:
    world.set("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{world.reserved_port()}")


@triggers("base-url-path")
def with_v1(world: World) -> None:
    world.set("ANTHROPIC_BASE_URL", f"{world.latimer_listens()}/v1")


@triggers("auth-missing")
def not_logged_in(world: World) -> None:
    world.latimer_listens()
    world.unset("ANTHROPIC_AUTH_TOKEN")


@triggers("auth-missing")
def not_logged_in_by_settings(world: World) -> None:
    url = world.latimer_listens()
    world.unset("ANTHROPIC_AUTH_TOKEN")
    world.write_json(world.settings, {"env": {"ANTHROPIC_BASE_URL": url}})


@triggers("auth-wrong")
def another_token(world: World) -> None:
    world.latimer_listens()
    world.set("LATIMER_TOKEN", TOKEN)


@triggers("auth-several")
def both(world: World) -> None:
    world.latimer_listens()
    world.set("ANTHROPIC_API_KEY", "sk-ant-0123456789")


@triggers("auth-helper")
def helper(world: World) -> None:
    world.latimer_listens()
    world.write_json(world.settings, {"apiKeyHelper": "echo key"})


@triggers("auth-account")
def console_login(world: World) -> None:
    world.latimer_listens()
    world.write_json(world.account, {"primaryApiKey": KEY, "hasCompletedOnboarding": True})


@triggers("account-unreadable")
def broken_account(world: World) -> None:
    world.write_json(world.account, '{"numStartups": 1')


@triggers("editor-elsewhere")
def editor(world: World) -> None:
    path = world.home / ".config" / "Code" / "User" / "settings.json"
    path.parent.mkdir(parents=True)
    path.write_text(
        "{\n"
        '  // "claudeCode.environmentVariables": [],\n'
        '  "editor.rulers": [120,], /* a, */\n'
        '  "claudeCode.environmentVariables": [\n'
        '    {"name": "ANTHROPIC_BASE_URL", "value": "https://gateway.test//x"},\n'
        '    {"name": "ANTHROPIC_AUTH_TOKEN", "value": "secret"},\n'
        "  ],\n"
        "}\n"
    )


@triggers("editor-elsewhere")
def editor_of_the_project(world: World) -> None:
    world.write_json(
        world.project / ".vscode" / "settings.json",
        '{"claudeCode.environmentVariables": [\n{"name": "CLAUDE_CODE_USE_VERTEX", "value": "1"}\n]}',
    )


@triggers("cloud-chosen")
def bedrock(world: World) -> None:
    world.latimer_listens()
    world.set("CLAUDE_CODE_USE_BEDROCK", "1")


@triggers("cloud-chosen")
def vertex(world: World) -> None:
    world.latimer_listens()
    world.write_json(world.settings, {"env": {"CLAUDE_CODE_USE_VERTEX": "true"}})


def _tiers_only(world: World) -> None:
    world.change("routes", {"opus": "local/m", "sonnet": "local/m", "haiku": "local/m"})


@triggers("model-unrouted")
def pinned(world: World) -> None:
    _tiers_only(world)
    world.write_json(world.settings, {"model": "gpt-x"})


@triggers("model-unrouted")
def pinned_by_variable(world: World) -> None:
    _tiers_only(world)
    world.latimer_listens()
    world.set("ANTHROPIC_DEFAULT_HAIKU_MODEL", "gpt-x")


@triggers("limits-too-large")
def too_large(world: World) -> None:
    world.latimer_listens()
    world.set("CLAUDE_CODE_MAX_CONTEXT_TOKENS", "200000")


@triggers("limits-too-large")
def too_large_in_settings(world: World) -> None:
    world.latimer_listens()
    world.provider.output = 8192
    world.write_json(world.settings, {"env": {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "64000"}})


@triggers("window-untold")
def untold(world: World) -> None:
    world.latimer_listens()
    world.unset("CLAUDE_CODE_MAX_CONTEXT_TOKENS")


@triggers("loopback-proxied")
def proxied(world: World) -> None:
    world.latimer_listens()
    world.set("HTTPS_PROXY", "http://user:password@proxy.test:8080")
    world.set("NO_PROXY", "intranet.test")


@triggers("tool-search-off")
def no_tool_search(world: World) -> None:
    world.set("ENABLE_TOOL_SEARCH", "false")


@triggers("tool-search-off")
def no_betas(world: World) -> None:
    world.write_json(world.settings, {"env": {"CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": 1}})


@triggers("prompt-lean")
def short_prompt(world: World) -> None:
    world.unset("CLAUDE_CODE_SIMPLE_SYSTEM_PROMPT")


@triggers("traffic-elsewhere")
def telemetry(world: World) -> None:
    world.latimer_listens()
    world.unset("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC")


# --- this machine ---


@triggers("latimer-several")
def two_latimers(world: World) -> None:
    other = world.program("latimer", "exit 1", world.root / "other-bin")
    world.set("PATH", f"{world.bin}:{other.parent}:/usr/bin:/bin")


@triggers("extra-missing")
def no_search_package(world: World) -> None:
    world.missing.add("ddgs")


@triggers("extra-missing")
def no_fetch_package(world: World) -> None:
    world.change("web_fetch", {"enabled": True})
    world.missing.add("trafilatura")


@triggers("file-limit")
def few_files(world: World) -> Cure:
    limits: list[Any] = [256, 256]
    world.patch.setattr(resource, "getrlimit", lambda _: tuple(limits))

    def cure(finding: Finding) -> None:
        limits[1] = int(said(finding, "`ulimit -Hn (\\d+)`"))

    return cure


@triggers("encoding")
def code_page(world: World) -> None:
    known = {"C.UTF-8": "utf-8"}
    world.patch.setattr(doctor_machine.os, "device_encoding", lambda _: known.get(_environ("LC_ALL"), "cp936"))
