"""The documentation: it builds without a warning, its links lead somewhere, and what it tells people to type exists.

Every page is read, and the README, the contributor's page and the skill with them.
"""

import ast
import re
import shlex
import tomllib
import typing
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import msgspec
import pytest
import tomlkit
from docs.build_site import ROOT, build, configuration, expanded, relinked, staged
from msgspec import Struct

from latimer.cli import app
from latimer.policy.config import ConfigTable, parse
from latimer.policy.presets import presets
from tests.interop.claude import NEWEST, binary

WRITTEN = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "skills").rglob("*.md"), ROOT / "README.md"]
PAGES = sorted(path for path in WRITTEN if path.parent.name != "decisions")  # those tell of what was not taken, too
CONFIGURATION = ROOT / "docs" / "configuration.md"
TROUBLES = ROOT / "docs" / "troubleshooting.md"
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)((?: {4}[^\n]*\n|\n)+)")
INLINE = re.compile(r"(?<!`)`(latimer [^`\n]+)`(?!`)")
PLACEHOLDER = re.compile(r"[\[\]…|]|\.\.\.")


# --- the site ---


class Links(HTMLParser):
    """What a page of the site points to, and what can be pointed to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if "id" in said:
            self.anchors.add(said["id"])
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        elif tag == "link" and said.get("rel") != "canonical":
            self.loaded.append(said["href"])
        elif "src" in said:
            self.loaded.append(said["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("docs") / "docs")


@pytest.fixture(scope="module")
def html(site: Path) -> dict[Path, Links]:
    return {path: Links(path.read_text("utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}


def test_each_page_is_there(site: Path) -> None:
    for name in staged().values():
        page = name.removesuffix(".md").removesuffix("README").removesuffix("index").rstrip("/")
        path = site / name if name.endswith(".svg") else site / page / "index.html"
        assert path.is_file(), name


def test_links_lead_somewhere(site: Path, html: dict[Path, Links]) -> None:
    checked = 0
    for path, page in html.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme in {"https", "http"}, f"{path}: {link}"
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path.relative_to(site)}: {link}"
            if parts.fragment and target.suffix == ".html" and target != path:
                assert unquote(parts.fragment) in html[target].anchors, f"{path.relative_to(site)}: {link}"
            checked += 1
    assert checked > len(html) * 10


def test_nothing_is_loaded_from_elsewhere(site: Path, html: dict[Path, Links]) -> None:
    loaded = {(path, link) for path, page in html.items() for link in page.loaded}
    assert loaded
    assert [(path, link) for path, link in loaded if urlsplit(link).netloc] == []
    styles = [path.read_text("utf-8") for kind in ("*.css", "*.svg") for path in site.rglob(kind)]
    assert styles
    assert [
        found for style in styles for found in re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", style)
    ] == []


def test_each_page_is_in_the_navigation() -> None:
    names = set(staged().values())
    listed = list(_pages(list(expanded(configuration()["nav"], names))))
    assert len(listed) == len(set(listed))
    assert set(listed) == {name for name in names if name.endswith(".md")}


def _pages(nav: object) -> Iterator[str]:
    if isinstance(nav, dict):
        nav = list(nav.values())
    if isinstance(nav, list):
        for entry in nav:
            yield from _pages(entry)
    else:
        yield str(nav)


@pytest.mark.parametrize(
    ("text", "linked"),
    [
        ("[a](docs/http.md#errors) b", "[a](http.md#errors) b"),
        ("[of [it]](docs/setup.md)", "[of [it]](setup.md)"),
        ("[all](docs/providers)", "[all](providers/README.md)"),
        ("![it](docs/performance.svg)", "![it](performance.svg)"),
        ("see [two\nlines](tests/test_docs.py).", "see two\nlines."),
        ("[x](docs/nowhere.md) [y](https://a.example/b.md) [z](#here)",) * 2,
        ("```\n[a](docs/http.md)\n```\n", "```\n[a](docs/http.md)\n```\n"),
    ],
)
def test_links_of_the_repository_in_the_site(text: str, linked: str) -> None:
    assert relinked(text, ROOT / "README.md", staged()) == linked


def test_lists_are_read_alike_in_the_repository_and_in_the_site() -> None:
    """The generator wants an empty line before a list, and four blanks before what belongs to an item."""
    odd = re.compile(
        r"^(?![-*|>#\s]|\d+\.)[^\n]+\n(?=[-*] |\d+\. )"  # a list right after text
        r"|^ {1,3}(?:[-*]|\d+\.) [^\n]*"  # a list in a list
        r"|(?<=\n\n) {1,3}(?![-* ])\S[^\n]*",  # another paragraph of an item
        re.MULTILINE,
    )
    for path in staged():
        if path.suffix == ".md":
            found = odd.search(FENCED.sub("\n", path.read_text("utf-8")))
            assert not found, f"{path.relative_to(ROOT)}: {found[0]}"


# --- what to type ---


def _commands() -> Iterator[tuple[str, str]]:
    for path in PAGES:
        text = path.read_text("utf-8")
        place = path.relative_to(ROOT).as_posix()
        blocks = [found[2] for found in FENCED.findall(text) if found[1] in {"", "sh", "console"}]
        blocks += INDENTED.findall(FENCED.sub("", text))
        for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
            for part in re.split(r"\s(?:&&|\|)\s|\$\(", line):
                if (command := part.strip().removeprefix("$ ")).startswith("latimer "):
                    yield place, command
        yield from ((place, command) for command in INLINE.findall(text))


COMMANDS = sorted(set(_commands()))


@pytest.mark.parametrize(("place", "line"), COMMANDS, ids=[f"{place}: {line}" for place, line in COMMANDS])
def test_commands_exist_with_their_options(place: str, line: str) -> None:
    words = shlex.split(line.rstrip(")"), comments=True)[1:]
    command: click.Command = app
    names = []
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        if PLACEHOLDER.search(name):  # `latimer …` speaks of any
            return
        names = name.split("/")  # `latimer connect/disconnect` speaks of both
        assert set(names) <= set(command.commands), f"{place}: latimer has no command {name!r}"
        command = command.commands[names[0]]
    words = words[: words.index("--")] if "--" in words else words
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    used = {word.split("=")[0] for word in words if word.startswith("--") and not PLACEHOLDER.search(word)}
    assert used <= known | {"--help"}, f"{place}: {line}"


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 50
    assert {line.split()[1] for _, line in COMMANDS} >= {"run", "serve", "init", "probe", "env", "doctor"}


def _configurations() -> Iterator[tuple[str, str]]:
    for path in PAGES:
        for number, (indent, language, text) in enumerate(FENCED.findall(path.read_text("utf-8"))):
            if language == "toml":
                yield (
                    f"{path.relative_to(ROOT).as_posix()}: {number}",
                    re.sub(f"^{indent}", "", text, flags=re.MULTILINE),
                )


@pytest.mark.parametrize(("place", "text"), [pytest.param(*each, id=each[0]) for each in _configurations()])
def test_configurations_are_valid(place: str, text: str) -> None:
    """What an excerpt leaves out (the provider that a route names, a route) is added."""
    tables = tomlkit.parse(text)
    providers = tables.setdefault("providers", {})
    for name in (
        re.findall(r'"([\w.-]+)/[^"/:]+[^"]*"', text) if {"routes", "auto_mode", "vision"} & set(tables) else []
    ):
        providers.setdefault(name, {})
    if not providers:
        providers["example"] = {}
    for name in providers.keys() - presets().keys():
        if "preset" not in providers[name]:
            providers[name].setdefault("base_url", "http://127.0.0.1:1/v1")
    if not tables.get("routes"):
        tables["routes"] = {"default": f"{next(iter(providers))}/m"}
    assert parse(tomlkit.dumps(tables), place).routes


def test_variables_exist() -> None:
    """Each variable of Latimer's own is one of an option, or is read by the code."""
    options = {option.envvar for command in _all(app) for option in command.params}
    code = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    for path in PAGES:
        for name in re.findall(r"\bLATIMER_(?!TEST_)[A-Z_]*[A-Z]\b", path.read_text("utf-8")):
            assert name in options or f'"{name}"' in code, f"{path.relative_to(ROOT)}: {name}"


def test_each_route_stands_in_the_documentation() -> None:
    server = (ROOT / "src" / "latimer" / "shell" / "server.py").read_text("utf-8")
    routes = re.findall(r'\("(GET|POST)", "(/[^"]*)"\): self\.', server)
    assert len(routes) > 5
    page = (ROOT / "docs" / "http.md").read_text("utf-8").partition("\n## ")[0]
    assert [route for route in routes if f"`{' '.join(route)}`" not in page] == []


def test_defaults_are_those_of_the_code() -> None:
    """Those that docs/configuration.md gives as a value, and not in words."""
    text, compared = CONFIGURATION.read_text("utf-8"), 0
    for title, body in re.findall(r"^#+ `\[(.+?)\]`\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL):
        rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| `([^|]*)` \|", body, re.MULTILINE)
        defaults = _defaults(title.split(".")) if rows else {}
        for names, default in rows:
            for name in set(re.findall(r"\w+", names)) - {"address"}:  # "default" is what the code calls ""
                told, real = tomllib.loads(f"it = {default}")["it"], defaults[name]
                same = sorted(told) == sorted(real) if isinstance(told, list) else told == real
                assert same, f"[{title}] {name}: {real!r}"
                compared += 1
    assert compared > 80


def _defaults(path: list[str]) -> dict[str, Any]:
    """The defaults of a table of the configuration, as TOML has them."""
    table: Any = ConfigTable
    for name in path:
        if name != "NAME":
            found = next(field for field in msgspec.structs.fields(table) if field.name == name)
            table = next(kind for kind in _kinds(found.type) if isinstance(kind, type) and issubclass(kind, Struct))
    defaults = {
        field.name: field.default if field.default is not msgspec.NODEFAULT else _made(field.default_factory)
        for field in msgspec.structs.fields(table)
    }
    return {name: msgspec.to_builtins(value) for name, value in defaults.items() if value is not msgspec.NODEFAULT}


def _made(factory: Any) -> Any:
    return factory if factory is msgspec.NODEFAULT else factory()


def _kinds(kind: Any) -> Iterator[Any]:
    """A type, and those that it is made of."""
    yield kind
    for part in typing.get_args(kind):
        yield from _kinds(part)


# --- messages ---


def _messages(part: str) -> list[str]:
    """The messages in the headings of one half of docs/troubleshooting.md; `…` stands for anything."""
    halves = re.split(r"^(?=## What Claude Code says)", TROUBLES.read_text("utf-8"), flags=re.MULTILINE)
    half = halves[part == "Claude Code"]
    return [
        message for line in re.findall(r"^### (.*)$", half, re.MULTILINE) for message in re.findall("`(.+?)`", line)
    ]


def _strings() -> Iterator[str]:
    """Every text in the code, with `…` for what is put in."""
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_troubles_are_told_in_the_words_that_are_printed() -> None:
    strings = list(_strings())
    messages = _messages("Latimer")
    assert len(messages) > 20
    for message in messages:
        pattern = re.compile(".*".join(re.escape(part) for part in message.split("…")), re.DOTALL)
        assert any(pattern.search(text) for text in strings), message


def test_troubles_of_claude_code_are_in_its_words() -> None:
    code = binary(NEWEST).read_bytes()
    for message in _messages("Claude Code"):
        assert message.strip("[]").encode() in code, message


def _all(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from _all(below)
