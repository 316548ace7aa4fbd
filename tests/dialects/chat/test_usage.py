"""Token counts: the sums a client adds up must be the prompt's and the answer's, whoever counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert, json

from latimer.dialects.chat.usage import decode_usage, encode_usage, find_usage
from latimer.dialects.messages.encoder import encode_usage as encode_for_client
from latimer.events import Usage
from latimer.wire.chat import Chunk, CompletionUsage
from tests.dialects.chat.asking import Json

PROMPT = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
COUNTS = st.none() | st.integers(0, 10**6)


def read(counted: Json) -> Usage:
    return decode_usage(convert(counted, CompletionUsage))


@pytest.mark.parametrize(
    ("counted", "usage"),
    [
        ({}, Usage()),
        ({"prompt_tokens": None, "completion_tokens": None}, Usage()),
        (PROMPT, Usage(100, 10)),
        ({**PROMPT, "prompt_tokens_details": {"cached_tokens": 60}}, Usage(100, 10, 60)),
        ({**PROMPT, "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30}}, Usage(100, 10, 60, 30)),
        ({**PROMPT, "prompt_tokens_details": {"cache_creation_input_tokens": 30}}, Usage(100, 10, 0, 30)),
        ({**PROMPT, "prompt_tokens_details": {"cached_tokens": None}, "cached_tokens": 60}, Usage(100, 10, 60)),
        ({**PROMPT, "prompt_cache_hit_tokens": 60, "prompt_cache_miss_tokens": 40}, Usage(100, 10, 60)),
        ({**PROMPT, "num_cached_tokens": 60}, Usage(100, 10, 60)),
        ({**PROMPT, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 5}, Usage(100, 10, 60, 5)),
        ({**PROMPT, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 5}, Usage(1005, 10, 900, 5)),
        ({**PROMPT, "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 70}}, Usage(100, 10, 60, 40)),
        ({**PROMPT, "completion_tokens_details": {"reasoning_tokens": 4}}, Usage(100, 10, 0, 0, 4)),
        ({**PROMPT, "completion_tokens_details": {"reasoning_tokens": 40}}, Usage(100, 10, 0, 0, 10)),
        (
            {**PROMPT, "total_tokens": 150, "completion_tokens_details": {"reasoning_tokens": 40}},
            Usage(100, 50, 0, 0, 40),
        ),
        ({**PROMPT, "reasoning_tokens": 4}, Usage(100, 10, 0, 0, 4)),
    ],
)
def test_every_vendors_count(counted: Json, usage: Usage) -> None:
    assert read(counted) == usage


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
def test_a_clients_sum_is_the_whole_prompt(
    prompt: int | None, completion: int | None, read_: int | None, write: int | None, thought: int | None
) -> None:
    usage = read(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "prompt_tokens_details": {"cached_tokens": read_, "cache_write_tokens": write},
            "reasoning_tokens": thought,
        }
    )
    told = encode_for_client(usage)
    counters = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert all(told[counter] >= 0 for counter in counters)
    assert sum(told[counter] for counter in counters) == usage.input_tokens
    assert usage.reasoning_tokens <= usage.output_tokens


@given(st.builds(Usage, *[st.integers(0, 10**6)] * 2))
def test_openais_form_is_read_as_it_is_written(usage: Usage) -> None:
    assert read(encode_usage(usage)) == usage


@pytest.mark.parametrize(
    ("chunk", "found"),
    [
        ({"choices": []}, None),
        ({"usage": {"prompt_tokens": 1}}, 1),
        ({"x_groq": {"usage": {"prompt_tokens": 2}}}, 2),
        ({"x_groq": {"id": "r"}}, None),
        ({"choices": [{"usage": {"prompt_tokens": 3}}]}, 3),
        ({"usage": {"prompt_tokens": 1}, "x_groq": {"usage": {"prompt_tokens": 2}}}, 1),
        ({"usage": None, "choices": [{"usage": {"prompt_tokens": 3}}]}, 3),
    ],
)
def test_usage_is_found_where_each_vendor_puts_it(chunk: Json, found: int | None) -> None:
    usage = find_usage(json.decode(json.encode(chunk), type=Chunk))
    assert (usage.prompt_tokens if usage else None) == found
