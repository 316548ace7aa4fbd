"""What a list of models tells."""

from typing import Any

import pytest

from latimer.policy.probing.told import Told, read_entry
from latimer.profile import Price


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({}, Told(9)),
        ({"owned_by": "llamacpp", "architecture": {"input_modalities": ["text"]}}, Told(9, False, "llamacpp")),
        ({"owned_by": "vllm"}, Told(9, engine="vllm")),
        ({"architecture": {"input_modalities": ["text", "image"]}}, Told(9, True)),
        ({"capabilities": {"vision": False}}, Told(9, False)),
        ({"capabilities": ["vision"], "architecture": None, "owned_by": None}, Told(9)),
        ({"pricing": {"prompt": "0.000003", "completion": "0.000015"}}, Told(9, prices=Price(3.0, 15.0))),
        ({"pricing": {"prompt": "-1", "completion": "-1"}}, Told(9)),
        ({"pricing": {"prompt": "free", "completion": None}}, Told(9)),
        ({"pricing": {"input": 3}}, Told(9)),
    ],
)
def test_entries(entry: dict[str, Any], told: Told) -> None:
    assert read_entry(entry, 9) == told
