"""What `connect` puts into a settings file, and what `disconnect` takes out of it."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from latimer.policy.auto_mode import AutoMode
from latimer.policy.claude_code import Limits, limits
from latimer.policy.config import Config, parse
from latimer.policy.connection import (
    Record,
    connected,
    decode_records,
    difference,
    digest,
    encode_records,
    undone,
    wanted,
)

URL = "http://127.0.0.1:4002"
THEIRS = b"""{
    "model": "opus",
    "apiKeyHelper": "pass show anthropic",
    "env": {
        "EDITOR": "vi",
        "ANTHROPIC_API_KEY": "sk-ant-theirs",
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "50000"
    },
    "hooks": {}
}
"""


@pytest.fixture
def config() -> Config:
    return parse('[providers.a]\nbase_url = "http://h/v1"\n[routes]\ndefault = "a/m"\n', "my.toml")


def joined(text: bytes, config: Config, helper: str = "", sizes: Limits | None = None) -> tuple[bytes, Record]:
    after, changes = connected(text, wanted(text, URL, helper, config, sizes or limits(config)))
    return after, Record(digest(text), digest(after), changes)


def settings(text: bytes | None) -> Any:
    assert text is not None
    return json.loads(text.decode("utf-8-sig"))


def test_an_empty_file(config: Config) -> None:
    after = settings(joined(b"", config)[0])
    assert after["env"]["ANTHROPIC_BASE_URL"] == URL
    assert after["env"]["ANTHROPIC_AUTH_TOKEN"] == "latimer"
    assert after["env"]["ANTHROPIC_DEFAULT_OPUS_MODEL"] == "claude-via-a/m"
    assert after["env"]["ANTHROPIC_API_KEY"] == "", "one of the shell would raise a question"
    assert after["disableAutoMode"] == "disable"
    assert "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST" not in after["env"], "it would make the file's own variables void"
    assert after.keys() == {"env", "disableAutoMode"}


def test_a_token_does_not_stand_in_the_file(config: Config) -> None:
    after = settings(joined(THEIRS, config, helper="latimer token")[0])
    assert after["apiKeyHelper"] == "latimer token"
    assert "ANTHROPIC_AUTH_TOKEN" not in after["env"]


def test_what_leads_elsewhere_goes_and_what_does_not_stays(config: Config) -> None:
    after = settings(joined(THEIRS, config)[0])
    assert "apiKeyHelper" not in after
    assert "CLAUDE_CODE_USE_BEDROCK" not in after["env"]
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS" not in after["env"], "it was another model's"
    assert after["env"]["EDITOR"] == "vi"
    assert after["model"] == "opus"
    assert list(after)[:2] == ["model", "env"]


def test_a_window_for_each_model(config: Config) -> None:
    sizes = Limits(200_000, 0, {"claude-via-a/m": 200_000, "claude-via-a/n": 400_000})
    after = settings(joined(b"{}", config, sizes=sizes)[0])
    assert after["modelSettings"]["claude-via-a/n"] == {"autoCompactWindow": 400_000}
    assert after["env"]["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "400000"
    assert "CLAUDE_CODE_AUTO_COMPACT_WINDOW" not in after["env"]


def test_with_a_reviewer_auto_mode_is_left_alone(config: Config) -> None:
    reviewed = replace(config, auto_mode=AutoMode("a/m"))
    assert "disableAutoMode" not in settings(joined(b"{}", reviewed)[0])


def test_what_stands_there_already_is_no_change(config: Config) -> None:
    once, _ = joined(THEIRS, config)
    again, record = joined(once, config)
    assert again == once
    assert record.changes == ()


# --- undone ---


@pytest.mark.parametrize(
    "text", [b"{}", THEIRS, b"\xef\xbb\xbf" + THEIRS.replace(b"\n", b"\r\n"), b'{"env":{"A":"1"}}']
)
def test_an_unchanged_file_comes_back_to_the_byte(config: Config, text: bytes) -> None:
    after, record = joined(text, config)
    back = undone(after, record, text)
    assert (back.text, back.exact, back.kept) == (text, True, ())


def test_a_file_that_was_not_there_goes(config: Config) -> None:
    after, record = joined(b"", config)
    assert undone(after, replace(record, before=""), None).text is None


def test_a_file_that_was_not_there_and_holds_more_by_now_stays(config: Config) -> None:
    after, record = joined(b"", config)
    more = after.replace(b'"disableAutoMode"', b'"theme": "dark",\n  "disableAutoMode"')
    back = undone(more, replace(record, before=""), None)
    assert settings(back.text) == {"theme": "dark"}


def test_without_the_backup_members_are_put_back(config: Config) -> None:
    after, record = joined(THEIRS, config)
    back = undone(after, record, None)
    assert settings(back.text) == settings(THEIRS)


def test_what_others_changed_meanwhile_stays(config: Config) -> None:
    after, record = joined(THEIRS, config)
    edited = (
        after.replace(b'"EDITOR": "vi"', b'"EDITOR": "emacs"')
        .replace(b'"hooks": {}', b'"hooks": {},\n    "theme": "dark"')
        .replace(URL.encode(), b"http://other")
    )
    back = undone(edited, record, THEIRS)
    expected = settings(THEIRS) | {"theme": "dark"}
    expected["env"] |= {"EDITOR": "emacs", "ANTHROPIC_BASE_URL": "http://other"}
    assert settings(back.text) == expected
    assert back.kept == (("env", "ANTHROPIC_BASE_URL"),)
    assert not back.exact


def test_what_others_put_back_already_is_no_matter(config: Config) -> None:
    _, record = joined(THEIRS, config)
    back = undone(THEIRS, record, None)
    assert (back.text, back.exact, back.kept) == (THEIRS, True, ())


def test_a_record_outlives_the_process(config: Config) -> None:
    records = {"/home/me/settings.json": joined(THEIRS, config)[1]}
    assert decode_records(encode_records(records)) == records
    with pytest.raises(ValueError, match="object"):
        decode_records(b"[]")


def test_no_secret_can_be_read_in_a_diff(config: Config) -> None:
    text = THEIRS.replace(b'"vi"', b'"vi", "MY_SECRET": "s3", "ANTHROPIC_CUSTOM_HEADERS": "x: \\"y\\""')
    shown = difference(text, joined(text, config)[0], "my.json")
    for secret in ("sk-ant-theirs", "s3", "x: "):
        assert secret not in shown
    assert '-        "ANTHROPIC_API_KEY": "(hidden)"' in shown
    assert '+        "ANTHROPIC_AUTH_TOKEN": "latimer"' in shown
    assert '-        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "50000"' in shown
