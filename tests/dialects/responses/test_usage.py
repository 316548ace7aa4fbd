"""Counts in the words of Responses, and back."""

import pytest
from msgspec import json

from latimer.dialects.responses.usage import decode_usage, encode_usage
from latimer.events import Usage
from latimer.wire.responses import ResponseUsage


@pytest.mark.parametrize(
    ("given", "usage"),
    [
        ({}, Usage()),
        ({"input_tokens": 9, "output_tokens": 5, "input_tokens_details": None}, Usage(9, 5)),
        (
            {
                "input_tokens": 9,
                "output_tokens": 5,
                "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
                "output_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(9, 5, 4, 2, 3),
        ),
        (
            {
                "input_tokens": 9,
                "output_tokens": 5,
                "total_tokens": 17,
                "output_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(9, 8, 0, 0, 3),
        ),
    ],
)
def test_decode(given: dict[str, object], usage: Usage) -> None:
    assert decode_usage(json.decode(json.encode(given), type=ResponseUsage)) == usage


def test_round_trip() -> None:
    usage = Usage(9, 8, 4, 2, 3)
    assert decode_usage(json.decode(json.encode(encode_usage(usage)), type=ResponseUsage)) == usage
