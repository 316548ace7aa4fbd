"""Write the pages that come from the code: `python docs/generate.py`. Tests compare page and code.

docs/command-line.md shows the command line, docs/dialects/chat.md the tables of what becomes of each part of the API.
"""

from collections.abc import Iterable, Iterator
from inspect import cleandoc
from pathlib import Path

import click

from latimer.cli import app
from latimer.dialects.chat.surface.answer import ANSWER, FROM_UPSTREAM
from latimer.dialects.chat.surface.blocks import BLOCKS
from latimer.dialects.chat.surface.request import FIELDS, HEADERS
from latimer.dialects.chat.surface.tools import TOOLS
from latimer.dialects.surface import MEANINGS, Row

PAGE = Path(__file__).with_name("command-line.md")
CHAT_PAGE = Path(__file__).with_name("dialects") / "chat.md"

HEAD = """# Command line

<!-- Written by docs/generate.py from the code. -->

Every option can also be given as an environment variable; what stands on the command line wins. Options override the
[configuration file](configuration.md). That is `config.toml` in the folder `latimer` of the user's configuration folder
(`~/.config` on Linux, `~/Library/Application Support` on macOS, `%LOCALAPPDATA%` on Windows), unless `--config` names
another.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted. `latimer run` exits with Claude Code's
own code, 128 + n after signal n.
"""


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([HEAD, *(text for path, command in commands(app, "latimer") for text in section(path, command))])


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group with its full name, in the order of `--help`."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def section(path: str, command: click.Command) -> Iterator[str]:
    """One command: its usage, its help and its options."""
    usage = " ".join(command.collect_usage_pieces(click.Context(command)))
    yield f"## `{path}`\n\n    {path} {usage}\n\n{cleandoc(command.help or '')}\n"
    options = [option for option in command.params if isinstance(option, click.Option)]
    if options:
        yield "| option | variable | |\n| --- | --- | --- |"
        yield "\n".join(row(option) for option in options) + "\n"


def row(option: click.Option) -> str:
    """One option as a row of the table."""
    if option.is_flag:
        value = ""
    elif isinstance(option.type, click.Choice):
        value = f" {option.metavar or '|'.join(option.type.choices)}"
    else:
        value = f" {option.metavar}"
    default = f" Default: {option.default}." if option.show_default else ""
    name = f"{option.opts[0]}{value}".replace("|", "\\|")
    return f"| `{name}` | `{option.envvar}` | {option.help}{default} |"


CHAT_HEAD = """# Messages over Chat Completions

<!-- Written by docs/generate.py from the code. -->

What becomes of each part of the Messages API when an upstream speaks Chat Completions. A part is named by its path in
the official SDK's types, with the `type` of a block or tool in place of its index; `*` stands for anything, `=` comes
before a literal or a `<block>`. The rows tell of a server about which nothing special is known; a
[profile](../configuration.md) can say that a provider takes more. What of a request is dropped, approximated or
emulated is always in its [`latimer-report`](../http.md). `tests/dialects/test_surface.py` sends every part that the
newest SDK knows through the code and compares; it fails when a part has no row.
"""

TABLES: tuple[tuple[str, str, tuple[Row, ...]], ...] = (
    ("The request", "Fields at the top level, and in messages.", FIELDS),
    ("Content blocks", "Wherever they stand, in results and documents too.", BLOCKS),
    ("Tools", "By their `type`; `custom` is also the type of tools that name none.", TOOLS),
    ("Headers", "None of them goes upstream.", HEADERS),
    ("The answer", "Messages, blocks, usage, events, deltas and errors, streamed or whole.", ANSWER),
    (
        "What the upstream says",
        "OpenAI's answer. Losses stand in `latimer-report`, of streams in a comment.",
        FROM_UPSTREAM,
    ),
)


def chat_page() -> str:
    """The page of the dialect, as Markdown."""
    meanings = "\n".join(f"- *{action}*: {meaning}." for action, meaning in MEANINGS.items())
    tables = "\n".join(f"## {title}\n\n{words}\n\n{table(rows)}\n" for title, words, rows in TABLES)
    return f"{CHAT_HEAD}\n{meanings}\n\n{tables}"


def table(rows: Iterable[Row]) -> str:
    """Rows as a Markdown table; each links to its test."""
    lines = ["| part | | how | shown by |", "| --- | --- | --- | --- |"]
    for each in rows:
        field = each.field.replace("|", "\\|")
        lines.append(f"| `{field}` | {each.action} | {each.how} | {evidence(each.shown)} |")
    return "\n".join(lines)


def evidence(shown: str) -> str:
    """A link to a test, or to the directory of a case."""
    path, _, name = shown.partition("::")
    if path.startswith("tests/"):
        return f"[{name or Path(path).stem}](../../{path})"
    return f"[{path}](../../tests/cases/chat/{path})"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    CHAT_PAGE.parent.mkdir(exist_ok=True)
    CHAT_PAGE.write_text(chat_page(), "utf-8")
