"""The table `[vision]`: what a configuration may say."""

import pytest

from latimer.errors import ConfigError
from latimer.policy.config import Config, parse
from latimer.policy.vision import Vision

BASE = '[providers.local]\nbase_url = "http://127.0.0.1:1/v1"\n[routes]\ndefault = "local/m"\n'


def read(table: str) -> Config:
    return parse(f"{BASE}[vision]\n{table}\n", "my.toml")


def test_nobody_describes_by_default() -> None:
    assert parse(BASE, "my.toml").vision == Vision()
    assert Vision().describe_with == ""


def test_everything_can_be_said() -> None:
    table = 'describe_with = "local/org/eyes"\nprompt = "What?"\nmax_tokens = 9\ntimeout_seconds = 2\nmax_images = 3'
    assert read(table).vision == Vision("local/org/eyes", "What?", 9, 2.0, 3)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('describe_with = "eyes"', 'vision.describe_with: \'eyes\' should be "provider/model", such as "local/eyes"'),
        ('describe_with = "lokal/eyes"', "vision.describe_with: 'lokal/eyes' names no configured provider"),
        ("max_images = 0", "vision.max_images: "),
        ('model = "local/eyes"', "vision.model"),
    ],
)
def test_what_cannot_work_is_named(table: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(table)
    assert message in str(caught.value)
