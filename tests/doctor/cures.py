"""Does what a cure says, to the letter. A cure that is in none of these forms needs somebody to do it (`scenarios`).

Of several cures in one text, the first is taken.
"""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomlkit

from tests.doctor.world import KEY, TOKEN, Finding, World

PLACEHOLDERS = {"KEY": KEY, "TOKEN": TOKEN}
"""What a reader puts in for the words that stand for their own."""
OTHER_MODEL = "local/other"
"""What a reader routes to who is told to take another model."""

Form = Callable[[World, re.Match[str]], None]


def follow(world: World, finding: Finding) -> None:
    """Do what the first cure in the text says."""
    matches = [
        (match.start(), form, match) for pattern, form in FORMS if (match := re.search(pattern, finding["cure"]))
    ]
    assert matches, f"nobody knows how to do this: {finding['cure']}"
    _, form, match = min(matches, key=lambda each: each[0])
    form(world, match)


def _export(world: World, match: re.Match[str]) -> None:
    name, value = shlex.split(match[1])[1].split("=", 1)
    world.set(name, PLACEHOLDERS.get(value, value))


def _unset(world: World, match: re.Match[str]) -> None:
    for name in match[1].split():
        world.unset(name)


def _run(world: World, match: re.Match[str]) -> None:
    world.shell(match[1])


def _install(world: World, match: re.Match[str]) -> None:
    world.install(match[1])


def _take_out(_: World, match: re.Match[str]) -> None:
    path = Path(match[2])
    settings = json.loads(path.read_text())
    *way, key = match[1].split(".")
    table: Any = settings
    for name in way:
        table = table[name]
    del table[key]
    path.write_text(json.dumps(settings))


def _take_out_of_table(world: World, match: re.Match[str]) -> None:
    assert match[3] == str(world.config)
    world.change(f"{match[2]}.{match[1]}", None)
    world.shell(match[4])


def _take_entry_out(_: World, match: re.Match[str]) -> None:
    path = Path(match[3])
    lines = path.read_text().splitlines()
    kept = [line for line in lines if f'"name": "{match[1]}"' not in line]
    assert len(kept) == len(lines) - 1
    path.write_text("\n".join(kept))


def _put_in(_: World, match: re.Match[str]) -> None:
    path = Path(match[3])
    settings = json.loads(path.read_text())
    settings.setdefault("env", {})[match[1]] = PLACEHOLDERS.get(match[2], match[2])
    path.write_text(json.dumps(settings))


def _configure(world: World, match: re.Match[str]) -> None:
    assert match["path"] == str(world.config)
    ((key, value),) = tomlkit.parse(match["line"]).items()
    if isinstance(value, str):
        value = value.replace("/NAME", "/m")
    world.change(f"{match['table']}.{key}", value)


def _mend_line(world: World, match: re.Match[str]) -> None:
    assert match[2] == str(world.config)
    lines = world.config.read_text().splitlines()
    del lines[int(match[1]) - 1]
    world.config.write_text("\n".join(lines))


def _write_key(_: World, match: re.Match[str]) -> None:
    path = Path(match[1])
    path.write_text(KEY)
    path.chmod(0o600)


def _other_model(world: World, match: re.Match[str]) -> None:
    assert match[1] in world.config.read_text()
    world.config.write_text(world.config.read_text().replace(match[1], OTHER_MODEL))


def _did_you_mean(world: World, match: re.Match[str]) -> None:
    """The nearest key or name, in the place of the one that is as long but for a letter."""
    right = match[1].split(".")[-1]
    assert match[2] == str(world.config)
    for wrong in (right + "x", right[:-1]):
        world.config.write_text(re.sub(rf"\b{wrong}\b", right, world.config.read_text()))


FORMS: tuple[tuple[str, Form], ...] = (
    (r"`(export [^`]+)`", _export),
    (r"`unset ([^`]+)`", _unset),
    (r"`((?:chmod|mv|rm|latimer forget) [^`]+)`", _run),
    (r"`pip install 'latimer\[(\w+)\]'`", _install),
    (r"take `(\w+)` out of `\[(\w+)\]` of ([^\s;,]+), and `(rm [^`]+)`", _take_out_of_table),
    (r"takes? `([\w.]+)` out of ([^`\s;,]+)", _take_out),
    (r"take the entry `(\w+)` out of `([\w.]+)` in ([^\s;,]+)", _take_entry_out),
    (r'write `env\.(\w+) = "([^"]*)"` into (\S+)', _put_in),
    (r"write `(?P<line>[^`]+)`[^`]* under `\[(?P<table>[^`]+)\]` of (?P<path>[^\s,;]+)", _configure),
    (r"mend line (\d+) of (\S+)", _mend_line),
    (r"write the key into the file (\S+), alone", _write_key),
    (r"write another model than (\S+) under", _other_model),
    (r"did you mean ([\w.]+)\? Write it into (\S+)", _did_you_mean),
)
