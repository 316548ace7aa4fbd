"""Writing a choice into a configuration's text."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latimer.errors import ConfigError
from latimer.policy.config import parse
from latimer.policy.presets import presets
from latimer.policy.setup import Choice, difference, edited, model_names, named, picked, usual_variable

CHOICE = Choice("acme", "http://127.0.0.1:9/v1", api_key="env:ACME_KEY", routes={"default": "a/b", "opus": "big"})
WANTED = {
    "providers": {"acme": {"base_url": "http://127.0.0.1:9/v1", "api_key": "env:ACME_KEY"}},
    "routes": {"default": "acme/a/b", "opus": "acme/big"},
}


def test_a_new_file() -> None:
    text = edited("", CHOICE)
    assert tomllib.loads(text) == WANTED
    assert text.startswith("# ")
    assert parse(text, "x").routes["default"] == ("acme/a/b",)


@pytest.mark.parametrize(
    "before",
    [
        '[server]\nport = 1 # one\n[providers.old]\nbase_url = "http://x"\n# end\n[routes]\ndefault = ["old/a"]\n',
        '[providers]\nold = { base_url = "http://x" } # inline\n',
        'routes = { default = "old/a" } # inline\n[providers.old.headers] # deep\na = "b"\n',
        'providers.old.base_url = "http://x" # dotted\nserver = { port = 1 }\n',
        '[routes]\n"claude-*" = "old/m" # glob\n[providers.old]\nbase_url = "http://x"\n',
        "# nothing but a comment\n",
    ],
)
def test_what_was_there_stays(before: str) -> None:
    after = edited(before, CHOICE)
    old, new = tomllib.loads(before), tomllib.loads(after)
    assert new["providers"]["acme"] == WANTED["providers"]["acme"]
    assert {**old.get("providers", {}), "acme": WANTED["providers"]["acme"]} == new["providers"]
    assert {**old.get("routes", {}), **WANTED["routes"]} == new["routes"]
    assert new.get("server") == old.get("server")
    for line in before.splitlines():
        if "#" in line:
            assert line[line.index("#") :] in after
    assert edited(after, CHOICE) == after, "twice is once"


def test_a_new_provider_stands_apart_from_the_routes() -> None:
    text = '[providers.old]\nbase_url = "http://x"\n\n[routes]\ndefault = "old/a"\n'
    assert "\n\n[providers.acme]\n" in edited(text, CHOICE)
    assert '"env:ACME_KEY"\n\n[routes]\n' in edited(text, CHOICE)
    routes_first = '[routes]\ndefault = "old/a"\n\n[providers.old]\nbase_url = "http://x"\n'
    assert edited(routes_first, CHOICE).endswith('"env:ACME_KEY"\n')


def test_a_provider_that_moves_leaves_its_key_and_address_behind() -> None:
    before = '[providers.acme]\naddress = "china"\napi_key = "env:OLD"\nheaders = { a = "b" }\n'
    after = tomllib.loads(edited(before, Choice("acme", "http://127.0.0.1:9/v1")))
    assert after["providers"]["acme"] == {"headers": {"a": "b"}, "base_url": "http://127.0.0.1:9/v1"}


@pytest.mark.parametrize("text", ["[", "providers = 3\n", 'routes = "x"\n'])
def test_what_cannot_be_edited(text: str) -> None:
    with pytest.raises(ConfigError):
        edited(text, CHOICE)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), st.text(max_size=20))
def test_any_model_name_is_quoted(model: str, other: str) -> None:
    text = edited("", Choice("acme", api_key="env:K", routes={"default": model, "opus": other or "x"}))
    assert tomllib.loads(text)["routes"]["default"] == f"acme/{model}"


def test_the_difference() -> None:
    assert difference("a\n", "a\n", "f") == ""
    assert difference("a\n", "b\n", "f").splitlines()[-2:] == ["-a", "+b"]


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ({"data": [{"id": "b"}, {"id": "a"}, {"id": "b"}, {}, {"id": 3}, "x"]}, ["a", "b"]),
        ([{"id": "a"}], ["a"]),  # Together
        ({"data": None}, []),
        ("no", []),
        (None, []),
    ],
)
def test_listed_models(listed: object, names: list[str]) -> None:
    assert model_names(listed) == names


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("2", "m-large"),
        ("m-large", "m-large"),
        ("LARGE", "m-large"),
        ("m", ""),
        ("0", ""),
        ("9", ""),
        ("", ""),
        ("x", ""),
        ("other", "other-4"),
    ],
)
def test_what_is_picked(said: str, found: str) -> None:
    assert picked(said, ["m-small", "m-large", "other-4"]) == found


def test_names() -> None:
    assert named("", "https://api.acme.com/v1") == "acme"
    assert named("mine", "https://api.acme.com/v1") == "mine"
    with pytest.raises(ConfigError):
        named("no blanks", "")


def test_the_usual_variable() -> None:
    preset = presets()["openai"]
    assert usual_variable(preset, "", {}) == "OPENAI_API_KEY"
    assert usual_variable(None, "", {}) == ""
    for found in presets().values():
        for address, place in found.addresses.items():
            for name in place.api_key_env:
                assert usual_variable(found, address, {name: "x"}) == name
