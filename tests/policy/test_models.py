"""Facts about models: which entry an id finds and which it must not, what they cost, and the data file itself."""

import json
import time
from importlib.resources import files

import msgspec
import pytest

from latimer.events import Usage
from latimer.policy import models
from latimer.policy.models import ModelFacts, both, cost, facts, facts_in, overlay, stated_window, with_stated_windows
from latimer.policy.presets import presets
from latimer.profile import PriceRules, PriceTier

DATA = files("latimer.policy").joinpath("models.json")
TABLES = json.loads(DATA.read_text("utf-8"))["presets"]
FULL = ModelFacts(200_000, 32_000, PriceRules(1.0, 2.0, 0.1, 1.25), images=True)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small table in place of the file, so that the rules are tested and not the market."""
    known = {
        "gpt-5": ModelFacts(1),
        "gpt-5-mini": ModelFacts(2),
        "gpt-5-2025-08-07": ModelFacts(3),
        "glm-5.2": ModelFacts(4, prices=PriceRules(1.0, 2.0)),
        "glm-5.2:free": ModelFacts(5, prices=PriceRules(0.0, 0.0)),
        "accounts/fireworks/models/kimi-k3": ModelFacts(6),
        "mistral-large-2512": ModelFacts(7),
        "qwen3": ModelFacts(8),
    }
    monkeypatch.setattr(models, "_table", lambda preset: known if preset == "p" else {})


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("gpt-5", 1),
        ("GPT-5", 1),
        ("openai/gpt-5", 1),
        ("gpt-5[1m]", 1),
        ("openai/GPT-5[1M]", 1),
        ("gpt-5-latest", 1),
        ("gpt-5-2025-08-07", 3),  # the exact id comes first
        ("gpt-5-2026-01-31", 1),
        ("gpt-5-20260131", 1),
        ("gpt-5@20260131", 1),
        ("gpt-5@default", 1),
        ("vendor/gpt-5-260131:nitro", 1),
        ("gpt-5-mini-2026-01-31", 2),
        ("accounts/fireworks/models/kimi-k3", 6),
    ],
)
def test_an_id_is_found(model: str, window: int) -> None:
    found = facts("p", model)
    assert found is not None
    assert found.context_window == window


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    "model",
    [
        "gpt",
        "gpt-5-nano",
        "gpt-5.1",
        "gpt-50",
        "my-gpt-5",
        "gpt-5-turbo-2026-01-31",
        "gpt-5-131072",  # no date
        "gpt-5-99999999",
        "kimi-k3",  # this provider knows it by its path only
        "accounts/me/models/kimi-k3",
        "mistral-large",
        "mistral-large-latest",
        "qwen3-2507",  # four digits may be a generation
        "ft:gpt-5:acme::abc",
        "@cf/gpt-5x",
        "",
        "/",
        ":free",
    ],
)
def test_an_id_is_not_guessed(model: str) -> None:
    assert facts("p", model) is None


@pytest.mark.usefixtures("table")
def test_another_preset_lends_nothing() -> None:
    assert facts("", "gpt-5") is None
    assert facts("q", "gpt-5") is None


@pytest.mark.usefixtures("table")
def test_a_variant_has_no_price_of_its_bases() -> None:
    free, nitro, dated = facts("p", "glm-5.2:free"), facts("p", "glm-5.2:nitro"), facts("p", "glm-5.2-20260131")
    assert free is not None
    assert nitro is not None
    assert dated is not None
    assert (free.context_window, free.prices.input) == (5, 0)
    assert (nitro.context_window, nitro.prices) == (4, PriceRules())
    assert dated.prices.input == 1


@pytest.mark.parametrize(
    ("model", "tokens"),
    [("m[1m]", 1_000_000), ("m[1M] ", 1_000_000), ("m[200k]", 200_000), ("m", 0), ("m[fast]", 0), ("[1m]m", 0)],
)
def test_a_stated_window(model: str, tokens: int) -> None:
    assert stated_window(model) == tokens


def test_a_window_stated_in_a_route_becomes_a_rule() -> None:
    own = {"match": "m*", "request": {"context_window": 7}}
    tables = {
        "server": {"port": 1},
        "providers": {"p": {"base_url": "http://h", "models": [own]}, "q": {}},
        "routes": {"opus": "p/org/m[1m]", "default": ["q/n", "q/a*[200K]", "x/m[1m]", "m[1m]"]},
    }
    assert with_stated_windows(tables) == {
        "server": {"port": 1},
        "providers": {
            "p": {
                "base_url": "http://h",
                "models": [{"match": "org/m", "request": {"context_window": 1_000_000}}, own],
            },
            "q": {"models": [{"match": "a[*]", "request": {"context_window": 200_000}}]},
        },
        "routes": {"opus": "p/org/m", "default": ["q/n", "q/a*", "x/m[1m]", "m[1m]"]},
    }
    assert tables["routes"]["opus"] == "p/org/m[1m]"  # what was given is not changed
    assert with_stated_windows({}) == {"providers": {}, "routes": {}}


def test_an_overlay_holds_what_is_known() -> None:
    assert overlay(None) == {}
    assert overlay(ModelFacts()) == {}
    assert overlay(ModelFacts(images=False)) == {"media": {"images": False}}
    tier = PriceTier(above=9, input=2.0, output=4.0)
    known = ModelFacts(100, 10, PriceRules(0.0, 2.0, tiers=(tier,)), images=True, tools=True)
    rules = overlay(known)
    assert rules["request"] == {"context_window": 100, "max_output": 10}
    assert rules["media"] == {"images": True}
    assert rules["prices"].keys() == {"input", "output", "tiers"}
    assert msgspec.convert(rules["prices"], PriceRules) == known.prices


# --- what it costs ---


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(), 0.0),
        (Usage(1_000_000, 1_000_000), 3.0),
        (Usage(1_000_000, 0, 400_000, 100_000), 0.5 + 0.04 + 0.125),
        (Usage(100, 0, 400_000), 0.04),  # a server that counts cached tokens apart
    ],
)
def test_cost(usage: Usage, dollars: float) -> None:
    assert cost(usage, FULL.prices) == pytest.approx(dollars)


def test_cached_tokens_without_a_price_of_their_own_cost_what_input_costs() -> None:
    assert cost(Usage(1_000_000, 0, 500_000, 500_000), PriceRules(1.0, 2.0)) == pytest.approx(1.0)
    assert cost(Usage(1_000_000, 0, 1_000_000), PriceRules(1.0, 2.0, cache_read=0.0)) == 0


@pytest.mark.parametrize("prices", [PriceRules(), PriceRules(input=1.0), PriceRules(output=1.0)])
def test_an_unknown_price_is_not_nothing(prices: PriceRules) -> None:
    assert cost(Usage(1, 1), prices) is None


def test_what_is_free_costs_nothing() -> None:
    assert cost(Usage(1000, 1000), PriceRules(0.0, 0.0)) == 0


def test_the_highest_tier_that_is_reached_prices_all() -> None:
    tiers = (PriceTier(above=500, input=4.0, output=8.0), PriceTier(above=100, input=2.0, output=3.0, cache_read=1.0))
    prices = PriceRules(1.0, 2.0, 0.1, tiers=tiers)
    assert cost(Usage(100, 100), prices) == pytest.approx(300e-6)
    assert cost(Usage(101, 100, 1), prices) == pytest.approx(501e-6)
    assert cost(Usage(501, 1, 1), prices) == pytest.approx((501 * 4 + 8) / 1e6)
    assert cost(Usage(501, 1), PriceRules(1.0, 2.0, tiers=(PriceTier(above=500),))) is None


# --- what a server says ---


def test_an_entry_is_the_models_own_or_the_only_one() -> None:
    one, other = ModelFacts(1), ModelFacts(2)
    assert facts_in({"a": one, "b": other}, "b") == other
    assert facts_in({"a": one, "b": other}, "c") is None
    assert facts_in({"a": one}, "c") == one
    assert facts_in({}, "c") is None


def test_two_answers_together() -> None:
    assert both(None, None) is None
    assert both(FULL, None) == both(None, FULL) == FULL
    less = ModelFacts(100_000, 0, images=False, tools=True)
    assert both(less, FULL) == ModelFacts(100_000, 32_000, FULL.prices, images=False, tools=True)
    assert both(FULL, less) == ModelFacts(100_000, 32_000, FULL.prices, images=True, tools=True)
    assert both(ModelFacts(tools=False), FULL) == msgspec.structs.replace(FULL, tools=False)


# --- the file ---


def test_the_file_says_where_it_comes_from() -> None:
    head = json.loads(DATA.read_text("utf-8"))
    assert [source["package"].split()[:2] for source in head["sources"]] == [
        ["npm", "@earendil-works/pi-ai"],
        ["PyPI", "litellm"],
    ]
    assert all(source["license"] == "MIT" and source["copyright"] for source in head["sources"])
    assert head["made"]


def test_the_file_is_small_sorted_and_has_a_model_in_each_line() -> None:
    text = DATA.read_text("utf-8")
    assert len(text.encode()) < 250_000
    assert list(TABLES) == sorted(TABLES)
    for table in TABLES.values():
        assert list(table) == sorted(table)
    models_in_lines = [line for line in text.splitlines() if line.startswith('"') and '"tools"' in line]
    assert len(models_in_lines) == sum(map(len, TABLES.values()))


@pytest.mark.parametrize("preset", sorted(TABLES))
def test_every_entry_is_sound(preset: str) -> None:
    for model, told in TABLES[preset].items():
        known = facts(preset, model)
        assert known is not None, model
        assert set(told) <= set(ModelFacts.__struct_fields__), model
        assert known.tools is True, model
        assert not known.context_window or 0 <= known.max_output < known.context_window, model
        prices = known.prices
        assert (prices.input is None) == (prices.output is None), model
        for price in (prices, *prices.tiers):
            assert all(p is None or 0 <= p <= 1000 for p in (price.input, price.output, price.cache_read)), model
        assert [tier.above for tier in prices.tiers] == sorted(tier.above for tier in prices.tiers), model


def test_tables_belong_to_presets_that_are_there() -> None:
    assert set(TABLES) <= set(presets())


@pytest.mark.parametrize(
    ("preset", "model", "window"),
    [
        ("anthropic", "claude-haiku-4-5-20251001", 200_000),
        ("openai", "gpt-4o", 128_000),
        ("openai", "gpt-5", 272_000),  # of 400,000, the prompt gets this much
        ("deepseek", "deepseek-v4-pro", 1_000_000),
        ("minimax", "minimax-m2.7", 204_800),
        ("groq", "openai/gpt-oss-120b", 131_072),
        ("cerebras", "gpt-oss-120b", 131_072),
    ],
)
def test_windows_that_the_reference_states(preset: str, model: str, window: int) -> None:
    found = facts(preset, model)
    assert found is not None
    assert found.context_window == window


def test_the_file_is_read_once_and_fast() -> None:
    times = []
    for _ in range(5):
        models._file.cache_clear()
        began = time.process_time()
        first = models._file()
        times.append(time.process_time() - began)
    assert min(times) < 0.005  # a tenth of that on one core
    assert facts("groq", "x") is None
    assert models._file() is first


def test_the_file_is_read_only_for_a_preset() -> None:
    models._file.cache_clear()
    models._table.cache_clear()
    facts("", "gpt-5")
    assert models._file.cache_info().currsize == 0
    facts("openai", "gpt-5")
    assert models._file.cache_info().currsize == 1
