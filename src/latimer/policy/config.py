"""The configuration: a TOML file and the command line's flags become a `Config`. docs/configuration.md has the keys."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from latimer.errors import ConfigError
from latimer.policy.addresses import PROVIDER_NAME, Place, UserDialect, clean_url, name_of, place
from latimer.policy.auto_mode import AutoMode
from latimer.policy.fallback import FallbackRules
from latimer.policy.models import with_stated_windows
from latimer.policy.presets import KeyHeader, ModelRules, Overlay, model_rules, sections
from latimer.policy.retry import RetryRules
from latimer.policy.tables import check, join, merge, nearest
from latimer.policy.vision import Vision
from latimer.policy.web import NEEDS_KEY, NEEDS_URL, WebFetch, WebSearch
from latimer.profile import Dialect, Profile

Seconds = Annotated[float, Meta(gt=0)]
MAX_QUEUED = 100

SECRET = re.compile(r"(env|keyring|file|command):.+", re.DOTALL)
"""A reference to a secret; the secret itself never stands in a configuration."""
LITERAL = "literal:"
"""Marks a secret that this process made up itself (`latimer run`); a file can not hold one."""

_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "cookie", "proxy-authorization"})
_LIMITS = ("max_concurrent", "max_queued", "first_token_timeout_seconds", "idle_timeout_seconds")
"""Keys of a provider that are taken over as they are."""
_FORMS = "env:NAME, keyring:NAME, file:PATH or command:COMMAND"


class Server(Struct, frozen=True, forbid_unknown_fields=True):
    """Where Latimer listens, and its limits."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 4002
    """0 takes a free port."""
    token: str = ""
    """Reference to the token clients must show; '' asks for none, which only a loopback address may do."""
    max_body_bytes: Annotated[int, Meta(ge=1024)] = 64 * 1024 * 1024
    ping_seconds: Seconds = 5.0
    """Silence towards the client after which a ping is sent."""
    commit_seconds: Seconds = 5.0
    """How long an upstream may take before the client gets its 200 and pings."""
    connect_timeout_seconds: Seconds = 10.0
    first_token_timeout_seconds: Seconds = 600.0
    """How long an upstream may take until a stream says something of its answer."""
    idle_timeout_seconds: Seconds = 600.0
    """Silence of an upstream after which it is given up."""
    shutdown_seconds: Annotated[float, Meta(ge=0)] = 5.0
    """How long open requests may still run when Latimer is asked to stop."""
    prompt_log: str = ""
    """File that all prompts and answers are written to; '': none."""


class Provider(Struct, frozen=True):
    """One upstream. Its URLs have no trailing slash and no endpoint's path."""

    name: str
    base_url: str
    dialect: UserDialect = "auto"
    """As the user said it; `auto`: what the profile says."""
    messages_url: str = ""
    """Where its Messages API is; '': beside the base URL, if it has one."""
    responses_url: str = ""
    """Where its Responses API is; '': at the base URL, if it has one."""
    api_key: str = ""
    """Reference to the key; '' sends none."""
    more_keys: tuple[str, ...] = ()
    """References to further keys."""
    key_header: KeyHeader = "authorization"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request; a value may be a reference."""
    proxy: str = ""
    """URL of the proxy to it; '': what the environment says; `none`: no proxy."""
    ca_file: str = ""
    """PEM file with roots that TLS trusts for it, beside the system's."""
    client_cert_file: str = ""
    client_key_file: str = ""
    """What TLS shows it of this client, in PEM."""
    preset: str = ""
    rules: Overlay = field(default_factory=dict)
    models: tuple[ModelRules, ...] = ()
    max_concurrent: int = 0
    """Requests that it is asked at once; 0: no limit."""
    max_queued: int = MAX_QUEUED
    """Requests that may wait for one of those to end."""
    first_token_timeout_seconds: float | None = None
    idle_timeout_seconds: float | None = None
    """The server's, unless it is said here."""

    def by_key(self) -> tuple[Provider, ...]:
        """The provider with each of its keys alone."""
        if not self.more_keys:
            return (self,)
        keys = (self.api_key, *self.more_keys)
        return tuple(msgspec.structs.replace(self, api_key=key, more_keys=()) for key in keys)

    def url(self, dialect: Dialect) -> str:
        """The endpoint of one of its APIs."""
        if dialect == "chat":
            return f"{self.base_url}/chat/completions"
        if dialect == "responses":
            return f"{self.responses_url or self.base_url}/responses"
        root = self.messages_url or self.base_url
        return f"{root}/messages" if root.endswith("/v1") else f"{root}/v1/messages"


class Config(Struct, frozen=True):
    """Everything Latimer was told. `routes` maps an id, glob, tier or `default` to its chain of `provider/model`."""

    server: Server
    providers: Mapping[str, Provider]
    routes: Mapping[str, tuple[str, ...]]
    retry: RetryRules
    source: str
    fallback: FallbackRules = FallbackRules()
    web_search: WebSearch = WebSearch()
    web_fetch: WebFetch = WebFetch()
    vision: Vision = Vision()
    auto_mode: AutoMode = AutoMode()


class Flags(Struct, frozen=True):
    """What the command line and the environment say; None or '' where they are silent. They override the file."""

    upstream: str = ""
    model: str = ""
    dialect: str = ""
    api_key_env: str = ""
    host: str = ""
    port: int | None = None
    token_env: str = ""
    prompt_log: str = ""
    context_window: int | None = None
    tries: int | None = None
    base_wait_seconds: float | None = None


def over(base: Flags, top: Flags) -> Flags:
    """What `top` says, and where it is silent what `base` says."""
    said = {name: value for name, value in msgspec.structs.asdict(top).items() if value not in (None, "")}
    return msgspec.structs.replace(base, **said)


class ModelTable(Profile, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rules for the models that fit a glob."""

    match: str


class ProviderTable(Profile, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One upstream, as the file says it."""

    base_url: str = ""
    messages_url: str = ""
    responses_url: str = ""
    address: str = ""
    dialect: UserDialect = "auto"
    api_key: str | list[str] = ""
    key_header: KeyHeader = "authorization"
    headers: dict[str, str] = field(default_factory=dict)
    proxy: str = ""
    ca_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    preset: str = ""
    models: list[ModelTable] = field(default_factory=list)
    max_concurrent: Annotated[int, Meta(ge=0)] = 0
    max_queued: Annotated[int, Meta(ge=0)] = MAX_QUEUED
    first_token_timeout_seconds: Seconds | None = None
    idle_timeout_seconds: Seconds | None = None


class ConfigTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    server: Server = Server()
    providers: dict[str, ProviderTable] = field(default_factory=dict)
    routes: dict[str, str | list[str]] = field(default_factory=dict)
    retry: RetryRules = RetryRules()
    fallback: FallbackRules = FallbackRules()
    web_search: WebSearch = WebSearch()
    web_fetch: WebFetch = WebFetch()
    vision: Vision = Vision()
    auto_mode: AutoMode = AutoMode()


_NO_FLAGS = Flags()


def parse(text: str, source: str, flags: Flags = _NO_FLAGS) -> Config:
    """The configuration in TOML `text`, which was read from `source`, under the flags.

    Raises ConfigError, naming the source, the key's path and what to write instead.
    """
    try:
        tables = tomllib.loads(text)
        check(tables, ConfigTable, "")
    except RecursionError:
        raise ConfigError(f"{source}: this is nested too deeply") from None
    except (tomllib.TOMLDecodeError, ConfigError) as error:
        kind = "this is not valid TOML: " if isinstance(error, tomllib.TOMLDecodeError) else ""
        raise ConfigError(f"{source}: {kind}{error}") from None
    if not tables.get("providers") and not flags.upstream:
        raise ConfigError(no_provider_text(source))
    try:
        return _build(_with_flags(tables, flags), source)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def seed_flags(environ: Mapping[str, str]) -> Flags:
    """The settings of the script this project began as; empty unless UPSTREAM_HOST is set. Raises ConfigError.

    UPSTREAM_HOST is a host or an http(s) URL, UPSTREAM_PATH the path of its endpoint, FORCED_MODEL the model for
    every id, API_KEY the key, LISTEN_PORT the port, MAX_RETRIES the tries, BASE_WAIT_SECONDS the first wait.
    """
    host = environ.get("UPSTREAM_HOST", "").strip().rstrip("/")
    if not host:
        return _NO_FLAGS
    base = host if "://" in host else f"https://{host}"
    port = environ.get("LISTEN_PORT")
    tries = environ.get("MAX_RETRIES")
    wait = environ.get("BASE_WAIT_SECONDS")
    return Flags(
        upstream=f"{base}/{environ.get('UPSTREAM_PATH', '/v1/chat/completions').strip().lstrip('/')}",
        model=environ.get("FORCED_MODEL", ""),
        api_key_env="API_KEY" if environ.get("API_KEY") else "",
        port=int(_number("LISTEN_PORT", port)) if port else None,
        tries=min(20, max(1, int(_number("MAX_RETRIES", tries)))) if tries else None,
        base_wait_seconds=_number("BASE_WAIT_SECONDS", wait) if wait else None,
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    schema: dict[str, Any] = _sorted_lists(msgspec.json.schema(ConfigTable))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Latimer configuration", **schema}


def private(config: Config, token: str) -> Config:
    """The configuration of a Latimer for one purpose: on a free port of loopback, for those who show the token."""
    server = msgspec.structs.replace(config.server, host="127.0.0.1", port=0, token=f"{LITERAL}{token}")
    return msgspec.structs.replace(config, server=server)


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def no_provider_text(path: str) -> str:
    """How to get a provider, for those who have none; `path` is where the file belongs."""
    return (
        "no provider is configured. Set one up with `latimer init`, or name one on the command line:\n"
        "  latimer run --upstream https://api.example.com/v1 --model NAME --api-key-env EXAMPLE_API_KEY\n"
        f"or write one to {path}:\n"
        "  [providers.example]\n"
        '  base_url = "https://api.example.com/v1"\n'
        '  api_key = "env:EXAMPLE_API_KEY"\n'
        "  [routes]\n"
        '  default = "example/NAME"\n'
        "`latimer demo` needs neither key nor provider, but the extra latimer[demo]."
    )


def _with_flags(tables: dict[str, Any], flags: Flags) -> dict[str, Any]:
    """The file's tables under the flags. --model sends every id to one model, so it replaces the routes."""
    token = f"env:{flags.token_env}" if flags.token_env else ""
    server = {"host": flags.host, "port": flags.port, "token": token, "prompt_log": flags.prompt_log}
    retry = {"tries": flags.tries, "base_wait_seconds": flags.base_wait_seconds}
    over: dict[str, Any] = {"server": _said(server), "retry": _said(retry)}
    name = ""
    if flags.upstream:
        name = name_of(clean_url(flags.upstream, "--upstream"))
        if not flags.model:
            raise ConfigError("--upstream needs --model NAME: the model that answers every id Claude Code asks for")
        key = f"env:{flags.api_key_env}" if flags.api_key_env else ""
        table = _said({"base_url": flags.upstream, "dialect": flags.dialect, "api_key": key})
        # A provider of the file that happens to have this name must not lend its key to another host.
        tables = {**tables, "providers": {**tables.get("providers", {}), name: table}}
    elif flags.api_key_env or flags.dialect:
        raise ConfigError("--api-key-env and --dialect describe the provider of --upstream, which is missing")
    merged = merge(tables, over)
    if flags.model:
        target = f"{name}/{flags.model}" if name else _model_target(flags.model, tables.get("providers", {}))
        merged["routes"] = {"default": target}
    if flags.context_window is not None:
        merged = _with_window(merged, flags.context_window)
    check(merged, ConfigTable, "")
    return merged


def _with_window(tables: dict[str, Any], window: int) -> dict[str, Any]:
    rule = {"match": "*", "request": {"context_window": window}}
    providers = tables.get("providers", {})
    return {**tables, "providers": {n: {**t, "models": [*t.get("models", []), rule]} for n, t in providers.items()}}


def _model_target(model: str, providers: Mapping[str, Any]) -> str:
    if model.split("/", 1)[0] in providers or len(providers) != 1:
        return model
    return f"{next(iter(providers))}/{model}"


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, "")}


def _build(tables: dict[str, Any], source: str) -> Config:
    tables = with_stated_windows(tables)
    server = msgspec.convert(tables["server"], Server)
    _check_secret(server.token, "server.token", "LATIMER_TOKEN")
    check_reach(server)
    providers = {name: _provider(name, table) for name, table in tables["providers"].items()}
    routes = {key: _chain(key, value, providers) for key, value in tables.get("routes", {}).items()}
    if not routes:
        first = next(iter(providers))
        raise ConfigError(f'no model is routed: add --model {first}/NAME, or [routes] with default = "{first}/NAME"')
    retry = msgspec.convert(tables["retry"], RetryRules)
    search = _web_search(msgspec.convert(tables.get("web_search", {}), WebSearch))
    vision = msgspec.convert(tables.get("vision", {}), Vision)
    if vision.describe_with:
        _check_target(vision.describe_with, "vision.describe_with", providers)
    auto_mode = msgspec.convert(tables.get("auto_mode", {}), AutoMode)
    if auto_mode.classifier:
        _check_target(auto_mode.classifier, "auto_mode.classifier", providers)
    fetch = msgspec.convert(tables.get("web_fetch", {}), WebFetch)
    fallback = msgspec.convert(tables.get("fallback", {}), FallbackRules)
    return Config(server, providers, routes, retry, source, fallback, search, fetch, vision, auto_mode)


def _web_search(search: WebSearch) -> WebSearch:
    variable = NEEDS_KEY.get(search.backend, "")
    _check_secret(search.api_key, "web_search.api_key", variable or "NAME")
    if search.backend in NEEDS_URL and not search.base_url:
        raise ConfigError(f"web_search.base_url: {search.backend} is your own server, so its address is needed")
    if variable and not search.api_key:
        raise ConfigError(f'web_search.api_key: {search.backend} needs a key; write api_key = "env:{variable}"')
    url = clean_url(search.base_url, "web_search.base_url") if search.base_url else ""
    return msgspec.structs.replace(search, base_url=url)


def check_reach(server: Server) -> None:
    """Raises ConfigError when other machines could use this server without a token."""
    if not server.token and not is_loopback(server.host):
        raise ConfigError(
            f"server.host {server.host!r} can be reached from other machines, so a token is required: "
            'set the environment variable LATIMER_TOKEN, or server.token = "env:NAME", or listen on 127.0.0.1'
        )


def _provider(name: str, table: Mapping[str, Any]) -> Provider:
    path = join("providers", name)
    if not PROVIDER_NAME.fullmatch(name):
        raise ConfigError(f"{path}: a provider's name is made of letters, digits, '.', '_' and '-'")
    keys = _keys(table.get("api_key", ""), f"{path}.api_key", f"{re.sub('[^A-Z0-9]', '_', name.upper())}_API_KEY")
    headers = table.get("headers", {})
    for header, value in headers.items():
        if header.lower() in _SECRET_HEADERS:
            _check_secret(value, join(f"{path}.headers", header), "NAME")
    found = place(name, table, path)
    address, preset = found.address, found.preset
    return Provider(
        name=name,
        base_url=address.base_url,
        dialect=found.dialect,
        messages_url=address.messages_url,
        responses_url=address.responses_url,
        api_key=keys[0] or _usual_key(found, headers),
        more_keys=keys[1:],
        key_header=table.get("key_header") or (preset.key_header if preset else "authorization"),
        headers={**preset.headers, **headers} if preset else headers,
        proxy=_proxy(table.get("proxy", ""), path),
        ca_file=table.get("ca_file", ""),
        client_cert_file=table.get("client_cert_file", ""),
        client_key_file=table.get("client_key_file", ""),
        preset=preset.name if preset else "",
        rules=sections(table),
        models=model_rules(table.get("models", [])),
        **{name: table[name] for name in _LIMITS if name in table},
    )


def _keys(value: str | list[str], path: str, variable: str) -> tuple[str, ...]:
    """One key or several, of which none is empty."""
    keys = (value,) if isinstance(value, str) else tuple(value)
    if not keys or (len(keys) > 1 and not all(keys)):
        raise ConfigError(f'{path}: a list holds references to keys, such as ["env:{variable}", "env:{variable}_2"]')
    for key in keys:
        _check_secret(key, path, variable)
        if keys.count(key) > 1:
            raise ConfigError(f"{path}: {key} stands there twice")
    return keys


def _proxy(url: str, path: str) -> str:
    """Refuse a password in the file. The message must not repeat it."""
    if "@" in url:
        raise ConfigError(
            f"{path}.proxy must not hold a user or a password; name that proxy in the environment instead "
            "(HTTPS_PROXY or ALL_PROXY)"
        )
    return url


def _usual_key(found: Place, headers: Mapping[str, str]) -> str:
    """The variables users of this provider keep their key in, for the provider's own hosts only."""
    if not found.is_own or any(header.lower() in _SECRET_HEADERS for header in headers):
        return ""
    return f"env:{'|'.join(found.address.api_key_env)}" if found.address.api_key_env else ""


def _chain(key: str, value: str | list[str], providers: Mapping[str, Provider]) -> tuple[str, ...]:
    path = join("routes", key)
    chain = (value,) if isinstance(value, str) else tuple(value)
    if not chain:
        raise ConfigError(f'{path}: an empty list routes nowhere; write "provider/model"')
    for target in chain:
        _check_target(target, path, providers)
    return chain


def _check_target(target: str, path: str, providers: Mapping[str, Provider]) -> None:
    name, _, model = target.partition("/")
    if not name or not model:
        raise ConfigError(f'{path}: {target!r} should be "provider/model"{_example(target, providers)}')
    if name not in providers:
        raise ConfigError(f"{path}: {target!r} names no configured provider{nearest(name, providers, 'providers')}")


def _example(target: str, providers: Mapping[str, Provider]) -> str:
    name = target.strip("/")
    if name in providers:
        return f', such as "{name}/MODEL"'
    return f', such as "{next(iter(providers))}/{name or "MODEL"}"'


def _check_secret(value: str, path: str, variable: str) -> None:
    """Refuse a secret itself. The message must not repeat it."""
    if value and not SECRET.fullmatch(value):
        raise ConfigError(
            f"{path} must not hold the secret itself. Put it into an environment variable and write "
            f'"env:{variable}"; allowed forms: {_FORMS}'
        )


def _sorted_lists(value: Any) -> Any:
    """Defaults that are sets come out in any order; the schema should be the same each time."""
    if isinstance(value, dict):
        return {key: _sorted_lists(item) for key, item in value.items()}
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return sorted(value)
    return list(value) if isinstance(value, tuple) else value


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"the environment variable {name} should be a number, not {text!r}") from None
