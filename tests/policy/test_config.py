"""The configuration: what is accepted, and that a refusal names the path and the cure."""

import json
from pathlib import Path
from typing import Any

import pytest

from latimer.errors import ConfigError
from latimer.policy.config import (
    Config,
    Flags,
    Provider,
    Server,
    is_loopback,
    json_schema,
    over,
    parse,
    seed_flags,
)
from latimer.policy.presets import presets
from latimer.policy.retry import RetryRules

EXAMPLE = """
[server]
port = 4010
token = "env:LATIMER_TOKEN"

[providers.minimax]
api_key = "env:MINIMAX_API_KEY"

[providers.local]
base_url = "http://127.0.0.1:8080/v1/"
dialect = "chat"
headers = { X-Team = "blue", api-key = "env:LOCAL_KEY" }

[providers.local.request]
context_window = 131072

[[providers.local.models]]
match = "qwen*"
reasoning = { control = "none" }

[routes]
opus = ["minimax/MiniMax-M2.7", "local/qwen3-coder"]
default = "minimax/MiniMax-M2.7"

[retry]
tries = 5
"""

LOCAL = '[providers.local]\nbase_url = "http://127.0.0.1:8080/v1"\n'
ROUTED = f'{LOCAL}[routes]\ndefault = "local/m"\n'


def refusal(text: str, flags: Flags | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "my.toml", flags or Flags())
    return str(caught.value)


def test_the_example_of_the_interface() -> None:
    config = parse(EXAMPLE, "my.toml")
    assert config.server == Server(port=4010, token="env:LATIMER_TOKEN")
    minimax, local = config.providers["minimax"], config.providers["local"]
    assert (minimax.base_url, minimax.preset) == ("https://api.minimax.io/v1", "minimax")
    assert (local.base_url, local.preset, local.api_key) == ("http://127.0.0.1:8080/v1", "", "")
    assert local.headers == {"X-Team": "blue", "api-key": "env:LOCAL_KEY"}
    assert local.rules == {"request": {"context_window": 131072}}
    assert [(entry.match, entry.rules) for entry in local.models] == [("qwen*", {"reasoning": {"control": "none"}})]
    assert config.routes == {
        "opus": ("minimax/MiniMax-M2.7", "local/qwen3-coder"),
        "default": ("minimax/MiniMax-M2.7",),
    }
    assert config.retry == RetryRules(tries=5)
    assert config.source == "my.toml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nprot = 1", "server.prot: no such key; did you mean server.port?"),
        ("[serve]\nport = 1", "serve: no such key; did you mean server?"),
        ("[server]\nfrobnicate = 1", "server.frobnicate: no such key; known keys of server: commit_seconds, "),
        (
            f"{LOCAL}[providers.local.request]\nmax_token_field = 'x'",
            "providers.local.request.max_token_field: no such key; did you mean "
            "providers.local.request.max_tokens_field?",
        ),
        (
            f"{LOCAL}[[providers.local.models]]\nmatch = '*'\nreqest = {{}}",
            "providers.local.models[0].reqest: no such key; did you mean providers.local.models[0].request?",
        ),
    ],
)
def test_unknown_keys(text: str, words: str) -> None:
    assert words in refusal(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nport = 'x'", "server.port: expected a whole number, got text"),
        ("[server]\nport = 70000", "server.port: expected a whole number <= 65535"),
        ("server = 3", "server: expected a table, got a whole number"),
        ("[providers]\nlocal = 'http://h'", "providers.local: expected a table, got text"),
        (f"{LOCAL}[routes]\nopus = 3", "routes.opus: expected text or a list, got a whole number"),
        (
            f"{LOCAL}reasoning = {{ control = 'much' }}",
            "providers.local.reasoning.control: 'much' is none of 'effort'",
        ),
        (f"{LOCAL}reasoning.efforts = {{ hi = 'x' }}", "providers.local.reasoning.efforts.hi: 'hi' is none of"),
        (f"{LOCAL}[[providers.local.models]]\nreasoning = {{}}", "providers.local.models[0]: the key match is missing"),
        ('[providers."a b"]\nbase_url = 1', 'providers."a b".base_url: expected text, got a whole number'),
        ("[retry]\ntries = 0", "retry.tries: expected a whole number >= 1"),
        ("port =", "this is not valid TOML"),
    ],
)
def test_wrong_types_are_named_with_their_path(text: str, words: str) -> None:
    message = refusal(text)
    assert message.startswith("my.toml: ")
    assert words in message


SECRET = "sk-0123456789abcdef"


@pytest.mark.parametrize(
    "text",
    [
        f'{LOCAL}api_key = "{SECRET}"',
        f'[server]\ntoken = "{SECRET}"\n{LOCAL}',
        f'{LOCAL}headers = {{ Authorization = "Bearer {SECRET}" }}',
        f'{LOCAL}headers = {{ X-Api-Key = "{SECRET}" }}',
        f'{LOCAL}api_key = "literal:{SECRET}"',
        f'{LOCAL}api_key = ["env:A", "{SECRET}"]',
    ],
)
def test_a_literal_secret_is_refused_and_not_repeated(text: str) -> None:
    message = refusal(text)
    assert SECRET not in message
    assert '"env:' in message
    assert "keyring:NAME, file:PATH or command:COMMAND" in message


@pytest.mark.parametrize("reference", ["env:A", "keyring:a", "file:~/key", "command:pass show a"])
def test_references_to_secrets(reference: str) -> None:
    text = f'{LOCAL}api_key = "{reference}"\n[routes]\ndefault = "local/m"'
    assert parse(text, "my.toml").providers["local"].api_key == reference


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        ('default = "lokal/m"', "routes.default: 'lokal/m' names no configured provider; did you mean local?"),
        ('default = "m"', 'routes.default: \'m\' should be "provider/model", such as "local/m"'),
        ('default = "local/"', 'should be "provider/model", such as "local/MODEL"'),
        ('"claude-*" = []', 'routes."claude-*": an empty list routes nowhere'),
    ],
)
def test_routes_that_lead_nowhere(routes: str, words: str) -> None:
    assert words in refusal(f"{LOCAL}[routes]\n{routes}")


def test_a_model_may_hold_slashes() -> None:
    config = parse(f'{LOCAL}[routes]\ndefault = "local/org/model:30b"', "my.toml")
    assert config.routes["default"] == ("local/org/model:30b",)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("api.example.com", "providers.local.base_url: expected a URL such as"),
        ("ftp://h/v1", "expected a URL such as"),
        ("http://[::1", "expected a URL such as"),
        ("http://h:port/v1", "expected a URL such as"),
        ("https://me:secret@h/v1", "must not hold a user or password"),
        ("https://h/v1?key=1", "must have no query"),
    ],
)
def test_base_urls_that_can_not_work(url: str, words: str) -> None:
    message = refusal(f'[providers.local]\nbase_url = "{url}"\n[routes]\ndefault = "local/m"')
    assert words in message
    assert "secret@" not in message


def test_an_unknown_name_without_base_url_suggests_the_preset() -> None:
    assert "there is no preset 'minimx'; did you mean minimax?" in refusal("[providers.minimx]")
    named = '[providers.a]\npreset = "deepsek"\nbase_url = "http://h"'
    assert "providers.a.preset: there is no preset 'deepsek'; did you mean deepseek?" in refusal(named)


@pytest.mark.parametrize("dialect", ["auto", "chat", "responses", "messages"])
def test_the_dialect_is_kept_as_it_was_said(dialect: str) -> None:
    text = f'{LOCAL}dialect = "{dialect}"\n[routes]\ndefault = "local/m"'
    assert parse(text, "my.toml").providers["local"].dialect == dialect
    flags = Flags(upstream="http://127.0.0.1:1/v1", model="m", dialect=dialect)
    assert parse("", "my.toml", flags).providers["upstream"].dialect == dialect
    assert "providers.local.dialect: 'anthropic' is none of" in refusal(f'{LOCAL}dialect = "anthropic"')


@pytest.mark.parametrize(
    ("provider", "chat", "responses", "messages"),
    [
        (
            Provider("p", "https://h/v1"),
            "https://h/v1/chat/completions",
            "https://h/v1/responses",
            "https://h/v1/messages",
        ),
        (
            Provider("p", "https://h/x", messages_url="https://h/anthropic", responses_url="https://h/r"),
            "https://h/x/chat/completions",
            "https://h/r/responses",
            "https://h/anthropic/v1/messages",
        ),
    ],
)
def test_the_endpoints_of_a_provider(provider: Provider, chat: str, responses: str, messages: str) -> None:
    assert (provider.url("chat"), provider.url("responses"), provider.url("messages")) == (chat, responses, messages)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_an_open_address_needs_a_token(host: str) -> None:
    message = refusal(ROUTED, Flags(host=host))
    assert "a token is required" in message
    assert "LATIMER_TOKEN" in message
    assert parse(ROUTED, "my.toml", Flags(host=host, token_env="T")).server.token == "env:T"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("10.0.0.1", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_without_a_provider_the_error_says_how_to_get_one() -> None:
    message = refusal("")
    assert "latimer run --upstream https://api.example.com/v1 --model NAME" in message
    assert "[providers.example]" in message
    assert "my.toml" in message
    example = message[message.index("  [providers") : message.index("`latimer demo`")]
    assert parse(example, "example").routes == {"default": ("example/NAME",)}


def test_without_a_route_the_error_says_which() -> None:
    assert 'add --model local/NAME, or [routes] with default = "local/NAME"' in refusal(LOCAL)


# --- presets ---


def test_a_preset_brings_its_usual_variable_to_its_own_host_only() -> None:
    def key_of(table: str) -> str:
        return parse(f'{table}\n[routes]\ndefault = "deepseek/m"', "my.toml").providers["deepseek"].api_key

    assert key_of("[providers.deepseek]") == "env:DEEPSEEK_API_KEY"
    assert key_of('[providers.deepseek]\napi_key = "env:OTHER"') == "env:OTHER"
    assert key_of('[providers.deepseek]\nbase_url = "https://gateway.example.com/v1"') == ""
    assert key_of('[providers.deepseek]\nheaders = { authorization = "env:OTHER" }') == ""


def only(table: str) -> Provider:
    name = table[: table.index("]")].removeprefix("[providers.")
    return parse(f'{table}\n[routes]\ndefault = "{name}/m"', "my.toml").providers[name]


def test_a_preset_is_found_by_the_host() -> None:
    assert only('[providers.mine]\nbase_url = "https://api.moonshot.cn/v1"').preset == "moonshot"


def test_several_usual_variables_of_which_the_first_that_is_set_counts() -> None:
    assert only("[providers.zai]").api_key == "env:ZAI_API_KEY|ZHIPU_API_KEY"


def test_the_header_of_the_key() -> None:
    assert only("[providers.minimax]").key_header == "authorization"
    assert only("[providers.anthropic]").key_header == "x-api-key"
    assert only('[providers.anthropic]\nkey_header = "authorization"').key_header == "authorization"
    assert "key_header: 'token' is none of" in refusal(f'{LOCAL}key_header = "token"')


def test_headers_of_a_preset_lie_under_the_users() -> None:
    assert only("[providers.nvidia]").headers == {"NVCF-POLL-SECONDS": "3600"}
    said = only('[providers.nvidia]\nheaders = { NVCF-POLL-SECONDS = "60", X-Team = "blue" }')
    assert said.headers == {"NVCF-POLL-SECONDS": "60", "X-Team": "blue"}


def test_several_keys() -> None:
    local = only(f'{LOCAL}api_key = ["env:A|B", "keyring:spare"]')
    assert (local.api_key, local.more_keys) == ("env:A|B", ("keyring:spare",))
    assert [(one.api_key, one.more_keys) for one in local.by_key()] == [("env:A|B", ()), ("keyring:spare", ())]
    assert only(LOCAL).by_key() == (only(LOCAL),)
    one = only(f'{LOCAL}api_key = ["env:A"]')
    assert (one.api_key, one.more_keys) == ("env:A", ())


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("[]", 'a list holds references to keys, such as ["env:LOCAL_API_KEY", "env:LOCAL_API_KEY_2"]'),
        ('["env:A", ""]', "a list holds references to keys"),
        ('["env:A", "env:B", "env:A"]', "env:A stands there twice"),
        ("[1]", "api_key: expected"),
        ("1", "api_key: expected"),
    ],
)
def test_lists_of_keys_that_can_not_work(keys: str, words: str) -> None:
    message = refusal(f"{LOCAL}api_key = {keys}")
    assert "providers.local.api_key" in message
    assert words in message


def test_limits_of_a_provider() -> None:
    local = only(f"{LOCAL}max_concurrent = 2\nmax_queued = 0\nfirst_token_timeout_seconds = 60")
    assert (local.max_concurrent, local.max_queued, local.first_token_timeout_seconds) == (2, 0, 60.0)
    assert (only(LOCAL).max_concurrent, only(LOCAL).idle_timeout_seconds) == (0, None)
    assert "max_concurrent" in refusal(f"{LOCAL}max_concurrent = -1")
    assert "idle_timeout_seconds" in refusal(f"{LOCAL}idle_timeout_seconds = 0")


def test_what_makes_a_chain_go_on() -> None:
    text = f'{ROUTED}[fallback]\non = ["refusal", "billing"]\nopen_after = 5'
    fallback = parse(text, "my.toml").fallback
    assert (fallback.on, fallback.open_after, fallback.cooldown_seconds) == ({"refusal", "billing"}, 5, 15.0)
    assert "fallback.on" in refusal(f'{ROUTED}[fallback]\non = ["bad luck"]')


# --- flags ---


@pytest.mark.parametrize(
    "upstream",
    ["http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1/chat/completions/"],
)
def test_an_upstream_as_providers_print_it(upstream: str) -> None:
    config = parse("", "command line", Flags(upstream=upstream, model="org/model"))
    assert config.providers["upstream"].base_url == "http://127.0.0.1:8080/v1"
    assert config.routes == {"default": ("upstream/org/model",)}


@pytest.mark.parametrize(
    ("upstream", "name"),
    [
        ("https://api.deepseek.com", "deepseek"),
        ("https://open.bigmodel.cn/api/paas/v4", "zai"),
        ("https://llm.corp.example.com/v1", "example"),
        ("https://api.foobar.ai/v1", "foobar"),
        ("http://localhost:11434/v1", "ollama"),
        ("http://localhost:8080/v1", "upstream"),
        ("http://10.1.2.3/v1", "upstream"),
    ],
)
def test_the_name_of_an_upstream(upstream: str, name: str) -> None:
    assert list(parse("", "command line", Flags(upstream=upstream, model="m")).providers) == [name]


def test_an_upstream_needs_a_model() -> None:
    assert "--upstream needs --model NAME" in refusal("", Flags(upstream="http://h/v1"))
    assert "--upstream: expected a URL" in refusal("", Flags(upstream="h", model="m"))
    assert "which is missing" in refusal(ROUTED, Flags(api_key_env="K"))


def test_flags_override_the_file() -> None:
    flags = Flags(upstream="http://h:1/v1", model="m2", host="127.0.0.2", port=0, api_key_env="K", tries=1)
    config = parse(EXAMPLE, "my.toml", flags)
    assert config.server == Server(host="127.0.0.2", port=0, token="env:LATIMER_TOKEN")
    assert set(config.providers) == {"minimax", "local", "upstream"}
    assert config.providers["upstream"].api_key == "env:K"
    assert config.routes == {"default": ("upstream/m2",)}
    assert config.retry.tries == 1


def test_a_provider_of_the_file_lends_no_key_to_another_upstream() -> None:
    text = '[providers.upstream]\nbase_url = "http://a/v1"\napi_key = "env:A"\n[routes]\ndefault = "upstream/m"'
    config = parse(text, "my.toml", Flags(upstream="http://127.0.0.1:1/v1", model="m"))
    assert config.providers["upstream"].api_key == ""


def test_model_names_a_route_or_a_model_of_the_only_provider() -> None:
    assert parse(ROUTED, "my.toml", Flags(model="local/other")).routes == {"default": ("local/other",)}
    assert parse(LOCAL, "my.toml", Flags(model="org/other")).routes == {"default": ("local/org/other",)}
    assert "names no configured provider" in refusal(EXAMPLE, Flags(model="other/m"))


def test_the_window_flag_holds_for_every_model() -> None:
    config = parse(EXAMPLE, "my.toml", Flags(context_window=5000))
    assert all(p.models[-1].rules == {"request": {"context_window": 5000}} for p in config.providers.values())


def test_over_keeps_what_the_upper_flags_leave_open() -> None:
    merged = over(Flags(upstream="u", port=1), Flags(port=0, model="m"))
    assert merged == Flags(upstream="u", port=0, model="m")


# --- the seed's variables ---


def seeded(**environ: str) -> Config:
    return parse("", "the environment", seed_flags(environ))


def test_the_seeds_variables() -> None:
    config = seeded(
        UPSTREAM_HOST="api.example.com",
        UPSTREAM_PATH="/v1/chat/completions",
        API_KEY="k",
        LISTEN_PORT="4100",
        FORCED_MODEL="MiniMax-M2.7",
        MAX_RETRIES="4",
        BASE_WAIT_SECONDS="2.5",
    )
    provider = config.providers["example"]
    assert (provider.base_url, provider.api_key) == ("https://api.example.com/v1", "env:API_KEY")
    assert config.routes == {"default": ("example/MiniMax-M2.7",)}
    assert config.server.port == 4100
    assert (config.retry.tries, config.retry.base_wait_seconds) == (4, 2.5)


@pytest.mark.parametrize(
    ("host", "path", "base_url"),
    [
        ("http://127.0.0.1:8080", "/v1/chat/completions", "http://127.0.0.1:8080/v1"),
        ("127.0.0.1:8080/", "v1", "https://127.0.0.1:8080/v1"),
        ("https://h", "/api/paas/v4/chat/completions", "https://h/api/paas/v4"),
        ("http://h", "", "http://h"),
    ],
)
def test_the_seeds_address(host: str, path: str, base_url: str) -> None:
    config = seeded(UPSTREAM_HOST=host, UPSTREAM_PATH=path, FORCED_MODEL="m")
    assert next(iter(config.providers.values())).base_url == base_url


def test_the_seeds_variables_need_the_host() -> None:
    assert seed_flags({"API_KEY": "k", "LISTEN_PORT": "1", "FORCED_MODEL": "m"}) == Flags()


def test_the_seeds_retries_stay_within_reason() -> None:
    config = seeded(UPSTREAM_HOST="h", FORCED_MODEL="m", MAX_RETRIES="0")
    assert config.retry.tries == 1
    assert seeded(UPSTREAM_HOST="h", FORCED_MODEL="m", MAX_RETRIES="99").retry.tries == 20


def test_a_seed_variable_that_is_no_number() -> None:
    with pytest.raises(ConfigError, match="LISTEN_PORT should be a number, not 'x'"):
        seed_flags({"UPSTREAM_HOST": "h", "LISTEN_PORT": "x"})


# --- the schema ---


def test_the_schema_describes_what_is_accepted() -> None:
    schema: dict[str, Any] = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    top = schema["$defs"]["ConfigTable"]
    assert set(top["properties"]) >= {"server", "providers", "routes", "retry", "vision"}
    assert top["additionalProperties"] is False
    assert set(schema["$defs"]["ProviderTable"]["properties"]) >= {"base_url", "api_key", "request", "models"}


def test_every_key_stands_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
    for name, definition in json_schema()["$defs"].items():
        for key in definition.get("properties", {}):
            assert f"`{key}`" in page or f"`[{key}]`" in page or f".{key}]`" in page or f"[{key}." in page, (name, key)


def test_the_example_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
    example = page.split("```toml\n")[1].split("```")[0]
    assert set(parse(example, "docs").routes) == {"opus", "sonnet", "haiku", "default"}


def test_the_documentation_names_every_preset() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8").replace("\n", " ")
    names = sorted(presets())
    assert f"knows {', '.join(names[:-1])} and {names[-1]}." in page


def test_the_schema_is_the_same_each_time() -> None:
    choices = json_schema()["$defs"]["ToolRules"]["properties"]["choices"]["default"]
    assert choices == sorted(choices)
