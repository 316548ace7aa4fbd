"""Rules on Claude Code: its program, and what its settings and environment tell it.

What wins over what, and what is sent where, was seen with the real client, 2.1.330: an `env` block of a settings file
wins over the environment, unless CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST is set, as `latimer run` does; `model` wins even
then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from msgspec import Struct

from latimer.errors import Rejection
from latimer.policy.addresses import port_of
from latimer.policy.claude_code import (
    ASSUMED_WINDOW,
    LEAST_COMPACT_WINDOW,
    LONG_CONTEXT,
    NO_PROXY_VARIABLES,
    PROXY_VARIABLES,
    TESTED_VERSIONS,
    Limits,
    limits,
    with_loopback,
)
from latimer.policy.config import Config, is_loopback
from latimer.policy.diagnosis.checks import found
from latimer.policy.diagnosis.facts import ClientFacts, Facts, ListenerFacts, Source
from latimer.policy.diagnosis.finding import Finding, parted, quoted, setting, unsetting
from latimer.policy.routing import routes_for

NEWEST, *_, OLDEST = TESTED_VERSIONS
"""What lies between is taken to work."""

_WINDOWS = ("CLAUDE_CODE_MAX_CONTEXT_TOKENS", "CLAUDE_CODE_AUTO_COMPACT_WINDOW")
_MODELS = re.compile(r"ANTHROPIC_(DEFAULT_\w+_)?MODEL|ANTHROPIC_SMALL_FAST_MODEL|CLAUDE_CODE_SUBAGENT_MODEL")
_CLOUDS = re.compile(r"CLAUDE_CODE_USE_(ANTHROPIC_AWS|ANTHROPIC_GOOGLE_CLOUD|BEDROCK|FOUNDRY|MANTLE|VERTEX)")
_CONCERNS = re.compile(r"_?ANTHROPIC_|_?CLAUDE|ENABLE_|DISABLE_|(HTTPS?|ALL|NO)_PROXY$", re.IGNORECASE)
_SHOWN = re.compile(
    r"ANTHROPIC_BASE_URL$|ANTHROPIC_.*MODEL|ENABLE_|DISABLE_|NO_PROXY$|no_proxy$"
    r"|CLAUDE_CODE_(USE|MAX|DISABLE|ENABLE|AUTO|SIMPLE|SUBAGENT|PROVIDER)_"
)
_OWN_WORDS = frozenset({"", "default", "best", "opusplan", "inherit"})
"""Names of models that Claude Code itself turns into one of its tiers."""
_OFF = frozenset({"", "0", "false", "no", "off"})
_VERSION = re.compile(r"\d+(?:\.\d+)+")


class Told(Struct, frozen=True):
    """What Claude Code is told in the end: values of the strongest source that has them, and which one that is."""

    values: dict[str, str]
    sources: dict[str, Source]

    def on(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.values.get(name, "").lower() not in _OFF


def concerns(name: str) -> bool:
    """Whether a variable of the environment tells Claude Code something."""
    return _CONCERNS.match(name) is not None


def masked(name: str, value: str) -> str:
    """A variable's value, `…` where it may be a secret."""
    if name in PROXY_VARIABLES or not _SHOWN.match(name):
        return "…" if value else ""
    return re.sub(r"^([^:/@]*://)[^/@]*@", r"\1", value)


def told(client: ClientFacts) -> Told:
    """What all sources come to. A host that manages the provider, as `latimer run` does, is not overruled."""
    values: dict[str, str] = {}
    sources: dict[str, Source] = {}
    order = sorted(client.sources, key=lambda source: "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST" in source.variables)
    for source in order:
        for name, value in source.variables.items():
            if value:
                values[name], sources[name] = value, source
            else:
                values.pop(name, None)
                sources.pop(name, None)
    return Told(values, sources)


def on_program(facts: Facts) -> Iterator[Finding]:
    """The program."""
    client = facts.client
    if client.problem:
        what, cure = parted(client.problem)
        check = "claude-broken" if client.program else "claude-missing"
        again = f"name one that can be run; to have it found: {unsetting(['LATIMER_CLAUDE'], facts.machine.windows)}"
        yield found(check, client.program or "Claude Code", what, cure or again)
    version = _VERSION.search(client.version)
    if version and not _numbers(OLDEST) <= _numbers(version[0]) <= _numbers(NEWEST):
        what = f"version {version[0]}; Latimer was tested with {OLDEST} to {NEWEST}"
        cure = f"nothing, if it works; else `npm install -g @anthropic-ai/claude-code@{NEWEST}`"
        yield found("claude-untested", client.program, what, cure)
    if client.others:
        what = f"beside {client.program} there is {', '.join(client.others)}"
        cure = f"{setting('LATIMER_CLAUDE', client.program, facts.machine.windows)}, or remove what is not used"
        yield found("claude-several", "PATH", what, cure)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def on_settings(facts: Facts) -> Iterator[Finding]:
    """Settings files, and what they and the environment say together."""
    client = facts.client
    for source in client.sources:
        if source.problem:
            what = f"{source.problem}, so nothing in it is in effect"
            yield found("settings-unreadable", source.path, what, f"mend {source.path}; see also `claude doctor`")
    if client.account_problem:
        path = client.account_key
        cure = f"mend it, or `mv {quoted(path)} {quoted(path + '.old')}` and answer Claude Code's first questions again"
        yield found("account-unreadable", path, client.account_problem, cure)
    everything = told(client)
    yield from _switches(everything, facts)
    config = facts.config.config
    if config is None:
        return
    here = _here(everything, facts)
    yield from _base_url(everything, facts)
    yield from _editors(facts)
    yield from _models(everything, config, facts, here)
    if here:
        yield from _limits(everything, facts)
        yield from _credentials(everything, config, facts)
        yield from _by_hand(everything, facts)


def _put(source: Source, name: str, value: str, facts: Facts) -> str:
    """How a variable is set where a source is."""
    if source.scope == "shell":
        return setting(name, value, facts.machine.windows)
    return f'write `env.{name} = "{value}"` into {source.path}'


def _out(source: Source, key: str, facts: Facts) -> str:
    """How a variable (`env.NAME`) or key is taken out of a source."""
    if source.scope == "shell":
        away = unsetting([key.removeprefix("env.")], facts.machine.windows)
        return f"{away}, and take it out of the file that sets it, such as ~/.profile"
    who = "have your administrator take" if source.scope == "managed" else "take"
    return f"{who} `{key}` out of {source.path}"


def _where(source: Source) -> str:
    return "the environment" if source.scope == "shell" else source.path


def _here(everything: Told, facts: Facts) -> bool:
    """Whether Claude Code is told to talk to this Latimer."""
    url = everything.values.get("ANTHROPIC_BASE_URL", "")
    return bool(url) and (_is_ours(url, facts) or bool(_listener(url, facts).version))


def _is_ours(url: str, facts: Facts) -> bool:
    """Whether a URL is the address that the configuration makes Latimer listen at."""
    config = facts.config.config
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", port_of(parts)
    except ValueError:
        return False
    return config is not None and port == config.server.port and (is_loopback(host) or host == config.server.host)


def _listener(url: str, facts: Facts) -> ListenerFacts:
    return facts.client.listeners.get(url, ListenerFacts(free=False))


def _base_url(everything: Told, facts: Facts) -> Iterator[Finding]:
    url = everything.values.get("ANTHROPIC_BASE_URL", "")
    if not url:
        return
    source = everything.sources["ANTHROPIC_BASE_URL"]
    where, away = _where(source), _out(source, "env.ANTHROPIC_BASE_URL", facts)
    if _listener(url, facts).free:
        start = "start it with `latimer serve`" if _is_ours(url, facts) else away
        cure = f"{start}; or use `latimer run`, which needs no server{'' if start == away else f', and {away}'}"
        yield found("base-url-down", where, f"ANTHROPIC_BASE_URL is {url}, where nothing listens", cure)
    elif not _here(everything, facts):
        what = f"ANTHROPIC_BASE_URL is {url}, so a Claude Code that `latimer run` does not start goes there"
        yield found("base-url-elsewhere", where, what, away)
    if re.search(r"/v1/?$", url):
        bare = re.sub(r"(/v1)+/?$", "", url)
        what = f"ANTHROPIC_BASE_URL is {url}, and Claude Code adds /v1/messages to it"
        yield found("base-url-path", where, what, _put(source, "ANTHROPIC_BASE_URL", bare, facts))


def _editors(facts: Facts) -> Iterator[Finding]:
    for source in facts.client.editors:
        for name, value in sorted(source.variables.items()):
            past = name == "ANTHROPIC_BASE_URL" and not _is_ours(value, facts) and not _listener(value, facts).version
            if past or (_CLOUDS.fullmatch(name) and value.lower() not in _OFF):
                what = f"{name} is {value} for the Claude Code of this editor"
                cure = f"take the entry `{name}` out of `claudeCode.environmentVariables` in {source.path}"
                yield found("editor-elsewhere", source.path, what, cure)


def _credentials(everything: Told, config: Config, facts: Facts) -> Iterator[Finding]:
    """What Claude Code shows of itself to this Latimer."""
    names = everything.sources
    source = names["ANTHROPIC_BASE_URL"]
    helpers = {each.helper for each in facts.client.sources}
    needed = "TOKEN" if config.server.token else "latimer"
    with_it = ", with Latimer's token" if config.server.token else ""
    if "ANTHROPIC_AUTH_TOKEN" not in names and "ANTHROPIC_API_KEY" not in names and helpers == {""}:
        what = "ANTHROPIC_BASE_URL leads to Latimer, and Claude Code has no token"
        yield found("auth-missing", _where(source), what, _put(source, "ANTHROPIC_AUTH_TOKEN", needed, facts) + with_it)
    elif _token_is_wrong(everything, facts) and "latimer" not in helpers:
        own = names["ANTHROPIC_AUTH_TOKEN"]
        what = f"ANTHROPIC_AUTH_TOKEN is not the token that Latimer asks for ({config.server.token})"
        yield found("auth-wrong", _where(own), what, _put(own, "ANTHROPIC_AUTH_TOKEN", needed, facts) + with_it)
    if "ANTHROPIC_AUTH_TOKEN" in names and "ANTHROPIC_API_KEY" in names:
        own = names["ANTHROPIC_API_KEY"]
        what = "ANTHROPIC_API_KEY is set beside ANTHROPIC_AUTH_TOKEN, and Claude Code sends both to Latimer"
        yield found("auth-several", _where(own), what, _out(own, "env.ANTHROPIC_API_KEY", facts))
    for each in (source for source in facts.client.sources if source.helper == "other"):
        what = "an apiKeyHelper is named, and Claude Code sends what it prints to Latimer"
        yield found("auth-helper", each.path, what, _out(each, "apiKeyHelper", facts))
    if facts.client.account_key and not facts.client.account_problem:
        what = "it holds the API key of a login, and Claude Code sends it to Latimer"
        cure = f"`claude /logout`, which takes `primaryApiKey` out of {facts.client.account_key}"
        yield found("auth-account", facts.client.account_key, what, cure)


def _token_is_wrong(everything: Told, facts: Facts) -> bool:
    """A Latimer at another address, such as that of a `latimer run`, has a token of its own."""
    config, source = facts.config.config, everything.sources.get("ANTHROPIC_AUTH_TOKEN")
    asks = config is not None and config.server.token and _is_ours(everything.values["ANTHROPIC_BASE_URL"], facts)
    return bool(asks) and source is not None and not source.token_fits


def _by_hand(everything: Told, facts: Facts) -> Iterator[Finding]:
    """What `latimer run` sees to by itself."""
    values, source = everything.values, everything.sources["ANTHROPIC_BASE_URL"]
    for name in sorted(values):
        if _CLOUDS.fullmatch(name) and everything.on(name):
            own = everything.sources[name]
            what = f"{name} is on, so Claude Code ignores ANTHROPIC_BASE_URL"
            yield found("cloud-chosen", _where(own), what, _out(own, f"env.{name}", facts))
    proxies = [name for name in PROXY_VARIABLES if values.get(name)]
    host = urlsplit(values["ANTHROPIC_BASE_URL"]).hostname or ""
    if proxies and is_loopback(host) and not _direct(values, host):
        own = everything.sources[proxies[0]]
        what = f"{proxies[0]} is set, and NO_PROXY does not name {host}: Claude Code asks the proxy for Latimer"
        cure = _put(own, "NO_PROXY", with_loopback([*filter(None, _exceptions(values))]), facts)
        yield found("loopback-proxied", _where(own), what, cure)
    window = _sizes(facts).context_window
    assumed = ASSUMED_WINDOW if everything.on("CLAUDE_CODE_DISABLE_1M_CONTEXT") else LONG_CONTEXT
    if 0 < window < assumed and not any(name in values for name in _WINDOWS):
        what = f"Claude Code is not told that the context window is {window} tokens, and assumes {assumed}"
        yield found("window-untold", _where(source), what, _put(source, _WINDOWS[0], str(window), facts))
    if not everything.on("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"):
        what = "telemetry and updates of Claude Code go to hosts that Latimer does not stand for"
        cure = _put(source, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1", facts)
        yield found("traffic-elsewhere", _where(source), what, cure)


def _exceptions(values: dict[str, str]) -> list[str]:
    return [host.strip() for name in NO_PROXY_VARIABLES for host in values.get(name, "").split(",")]


def _direct(values: dict[str, str], host: str) -> bool:
    known = _exceptions(values)
    return host in known or "*" in known


def _models(everything: Told, config: Config, facts: Facts, here: bool) -> Iterator[Finding]:
    for source in facts.client.sources:
        if not _routed(config, source.model):
            yield _unrouted(source, "model", source.model, facts)
    for name, value in everything.values.items():
        if here and _MODELS.fullmatch(name) and not _routed(config, value):
            yield _unrouted(everything.sources[name], f"env.{name}", value, facts)


def _unrouted(source: Source, key: str, model: str, facts: Facts) -> Finding:
    what = f"{key.removeprefix('env.')} is {model}, and no route answers for it"
    cure = f"{_out(source, key, facts)}; or route it under `[routes]` of {facts.config.path}"
    return found("model-unrouted", _where(source), what, cure)


def _routed(config: Config, model: str) -> bool:
    if model.lower() in _OWN_WORDS:
        return True
    try:
        routes_for(config, model)
    except Rejection:
        return False
    return True


def _limits(everything: Told, facts: Facts) -> Iterator[Finding]:
    sizes = _sizes(facts)
    window = sizes.context_window
    if any(source.each_window for source in facts.client.sources):
        window = max(sizes.windows.values())  # each model has its own beside it
    most = {_WINDOWS[0]: window, _WINDOWS[1]: max(window, LEAST_COMPACT_WINDOW) if window else 0}
    most["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = sizes.max_output or window
    for name, limit in most.items():
        source = everything.sources.get(name)
        value = everything.values.get(name, "")
        if source is None or not value.isdigit() or not 0 < limit < int(value):
            continue
        cure = _put(source, name, str(limit), facts)
        what = f"{name} is {value}, where the smallest model of the tiers takes {limit}"
        yield found("limits-too-large", _where(source), what, cure)


def _sizes(facts: Facts) -> Limits:
    """What the models behind the tiers take, as `latimer run` tells it."""
    config = facts.config.config
    assert config is not None
    return limits(config, told={each.route.name: (each.window, each.output) for each in facts.routes})


def _switches(everything: Told, facts: Facts) -> Iterator[Finding]:
    """What holds for `latimer run`, too."""
    off = {
        "ENABLE_TOOL_SEARCH": "ENABLE_TOOL_SEARCH" in everything.values and not everything.on("ENABLE_TOOL_SEARCH"),
        "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": everything.on("CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS"),
    }
    for name, is_off in off.items():
        if is_off:
            source = everything.sources[name]
            what = f"{name} is {everything.values[name]}, which switches tool search off"
            yield found("tool-search-off", _where(source), what, _out(source, f"env.{name}", facts))
    foreign = [each.route.name for each in facts.routes if "claude" not in each.route.model.lower()]
    if foreign and everything.values.get("CLAUDE_CODE_SIMPLE_SYSTEM_PROMPT") is None:
        what = f"Claude Code sends its short system prompt; {foreign[0]} may work better with the full one"
        cure = f"leave it; or {setting('CLAUDE_CODE_SIMPLE_SYSTEM_PROMPT', '0', facts.machine.windows)}"
        yield found("prompt-lean", "the environment", what, cure)
