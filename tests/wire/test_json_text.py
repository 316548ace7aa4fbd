"""Text that is nearly JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json as typed

from latimer.wire.json_text import UNREADABLE, decode_mended, mend_surrogates

ANY: typed.Decoder[object] = typed.Decoder(object)


@pytest.mark.parametrize(
    ("raw", "mended"),
    [
        (rb'"\ud83d"', rb'"\ufffd"'),
        (rb'"\uDE00"', rb'"\ufffd"'),
        (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
        (rb'"\uD83D\uDE00"', rb'"\uD83D\uDE00"'),
        (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
        (rb'"\ude00\ud83d"', rb'"\ufffd\ufffd"'),
        (rb'"\\ud83d"', rb'"\\ud83d"'),
        (rb'"\\\ud83d"', rb'"\\\ufffd"'),
        (rb'"\ud83d\\ude00"', rb'"\ufffd\\ude00"'),
        (rb'"\u0041\n\"\ud83d"', rb'"\u0041\n\"\ufffd"'),
        (rb'{"\ud83d":1}', rb'{"\ufffd":1}'),
        ('"😀"'.encode(), '"😀"'.encode()),
    ],
)
def test_lone_surrogates(raw: bytes, mended: bytes) -> None:
    assert mend_surrogates(raw) == mended
    ANY.decode(mended)


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_whatever_javascript_writes_can_be_read(text: str) -> None:
    raw = json.dumps([text]).encode()
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    read = decode_mended(ANY, raw)
    assert isinstance(read, list)
    assert read[0].replace("\ufffd", "") == whole.replace("\ufffd", "")


@pytest.mark.parametrize("raw", [b"", b"{", b"nul", b'"\xff"', b"[" * 100_000, b"1e999", b'{"a":1} {}'])
def test_what_cannot_be_read_raises_what_is_expected(raw: bytes) -> None:
    with pytest.raises(UNREADABLE):
        decode_mended(ANY, raw)
