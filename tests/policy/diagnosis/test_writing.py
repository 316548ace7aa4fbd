"""How an examination is written down."""

import json

from latimer.policy.diagnosis.finding import Examination, Finding, Seen
from latimer.policy.diagnosis.rules import is_well
from latimer.policy.diagnosis.writing import report, text

FINDINGS = (
    Finding("learned", "route a/m", "it takes no x", "nothing; to learn anew: `latimer forget a/m`"),
    Finding("port-taken", "port 1 on 127.0.0.1", "taken", "choose\nanother"),
    Finding("file-limit", "open files", "few", "more"),
)
SEEN = (Seen("configuration", "my.toml: 1 provider"), Seen("keys", "env:A"))


def test_text() -> None:
    assert text(Examination(FINDINGS, SEEN), hints=("A hint.",)).splitlines() == [
        "Configuration",
        "  note     learned: route a/m",
        "           it takes no x",
        "           -> nothing; to learn anew: `latimer forget a/m`",
        "",
        "Server",
        "  error    port-taken: port 1 on 127.0.0.1",
        "           taken",
        "           -> choose",
        "              another",
        "",
        "This machine",
        "  warning  file-limit: open files",
        "           few",
        "           -> more",
        "",
        "In order",
        "  ok  configuration  my.toml: 1 provider",
        "  ok  keys           env:A",
        "",
        "A hint.",
        "something does not work: 1 error, 1 warning, 1 note. docs/doctor.md tells more of each",
    ]


def test_nothing_found() -> None:
    assert text(Examination(())) == "nothing is wrong: nothing found"
    assert text(Examination(FINDINGS[:1])).splitlines()[-1].startswith("nothing is wrong: 1 note.")


def test_what_a_server_says_does_not_steer_the_terminal() -> None:
    assert "\\x1b[2J" in text(Examination((Finding("try-failed", "route a/m", "\x1b[2Jgone\x07", "look"),)))


def test_json() -> None:
    found = json.loads(json.dumps(report(Examination(FINDINGS, SEEN))))
    assert found["ok"] is False
    assert found["findings"][1] == {
        "id": "port-taken",
        "severity": "error",
        "group": "server",
        "where": "port 1 on 127.0.0.1",
        "what": "taken",
        "cure": "choose\nanother",
        "docs": "docs/doctor.md#port-taken",
    }
    assert found["in_order"][0] == {"where": "configuration", "what": "my.toml: 1 provider"}


def test_only_errors_count_as_wrong() -> None:
    assert is_well(Examination((FINDINGS[0], FINDINGS[2])))
    assert not is_well(Examination(FINDINGS))
