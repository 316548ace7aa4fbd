"""The table `[auto_mode]`."""

import pytest

from latimer.errors import ConfigError
from latimer.policy.auto_mode import AutoMode
from latimer.policy.config import parse
from latimer.policy.routing import route_names

BASE = '[providers.p]\nbase_url = "http://127.0.0.1:1/v1"\n[routes]\ndefault = "p/m"\n'


def test_nobody_reviews_unless_told() -> None:
    assert parse(BASE, "test").auto_mode == AutoMode()
    assert not AutoMode().classifier


def test_a_classifier() -> None:
    config = parse(BASE + '[auto_mode]\nclassifier = "p/small"\ntimeout_seconds = 5\nskip_tools = []', "test")
    assert config.auto_mode == AutoMode("p/small", 5.0, skip_tools=())
    assert route_names(config) == ["p/m"], "it is not a model to choose"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('classifier = "q/small"', "auto_mode.classifier: 'q/small' names no configured provider"),
        ('classifier = "small"', "auto_mode.classifier: 'small' should be \"provider/model\""),
        ("timeout_seconds = 0", "auto_mode.timeout_seconds"),
        ("max_input_tokens = 10", "auto_mode.max_input_tokens"),
        ('clasifier = "p/m"', "did you mean auto_mode.classifier?"),
    ],
)
def test_mistakes_are_named(table: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(f"{BASE}[auto_mode]\n{table}", "test")
    assert said in str(error.value)
