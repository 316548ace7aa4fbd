"""Write the pages that come from the code: `python docs/generate.py`. Tests compare page and code.

docs/command-line.md shows the command line, docs/dialects the tables of what becomes of each part of the API,
docs/providers the presets, docs/doctor.md what `latimer doctor` finds. docs/faults.md is played, which takes a minute.
"""

import logging
import sys
from collections.abc import Iterable, Iterator
from inspect import cleandoc
from pathlib import Path

import click

from latimer.cli import app
from latimer.dialects.chat.surface import request as over_chat
from latimer.dialects.chat.surface.answer import ANSWER, FROM_UPSTREAM
from latimer.dialects.messages.surface import request as over_messages
from latimer.dialects.responses.surface import request as over_responses
from latimer.dialects.responses.surface.answer import FROM_UPSTREAM as SAID
from latimer.dialects.surface import MEANINGS, Row
from latimer.dialects.surface_rows.request import HEADERS
from latimer.policy.diagnosis.checks import CHECKS, GROUPS
from latimer.policy.diagnosis.finding import Check

PAGE = Path(__file__).with_name("command-line.md")
CHAT_PAGE = Path(__file__).with_name("dialects") / "chat.md"
CASES = Path(__file__).parent.parent / "tests" / "cases"
RESPONSES_PAGE = CHAT_PAGE.with_name("responses.md")
MESSAGES_PAGE = CHAT_PAGE.with_name("messages.md")
DOCTOR_PAGE = PAGE.with_name("doctor.md")

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


DOCTOR_HEAD = """# What `latimer doctor` finds

<!-- Written by docs/generate.py from the code. -->

| command | |
| --- | --- |
| `latimer doctor` | Look at everything, and ask each provider for its list of models, with its key. |
| `latimer doctor --try` | Also send each tier's model a real request, through all of Latimer. |
| `latimer doctor --no-network` | Ask no provider anything. |
| `latimer doctor --json` | For programs. |

It reads Latimer's configuration, keys and files, the network, what listens on the port, Claude Code's settings (the
user's, the project's, the administrator's), its account file and environment, and this machine. It changes nothing.
No key, token or password is ever in what it prints.

Each finding has an id, which does not change, and a cure; what stands in backticks there is a command or a line of a
file, to be taken as it is. An **error** does not work; a **warning** may go wrong or is less than safe; a **note** is
worth knowing. The exit code is 1 when there is an error, else 0.

`--try` sends one short request with a tool to the first route of each tier, about 300 tokens, and says what it was: the
time, the tokens and, where prices are known, the cost.

With `--json`: `ok`; `findings`, each with `id`, `severity`, `group`, `where`, `what`, `cure`, and in `docs` the place
on this page; and in `in_order` what was looked at and is well.

It does not look at: what the VS Code extension and the desktop app keep beside the files named here, headers that a
company's gateway may want, the balance of an account, and whether a model is good at its work.

Each finding is caused in a test, cured by doing what it says, and looked for again (`tests/doctor`). Those about Claude
Code that say what it does were tried with the real client, before and after the cure (`tests/interop/test_doctor.py`).
"""


def doctor_page() -> str:
    """The page of findings, as Markdown."""
    return "\n".join([DOCTOR_HEAD, *map(_group, GROUPS)])


def _group(group: str) -> str:
    known = [check for check in CHECKS.values() if check.group == group]
    rows = [f"| [`{check.id}`](#{check.id}) | {check.severity} | {check.looks_for} |" for check in known]
    head = f"## {group[0].upper()}{group[1:]}\n\n| finding | | it means |\n| --- | --- | --- |\n"
    return head + "\n".join(rows) + "\n\n" + "\n".join(_finding(check) for check in known)


def _finding(check: Check) -> str:
    said = f"{check.looks_for[0].upper()}{check.looks_for[1:]}."
    return f"### `{check.id}`\n\n{said} {check.why}".rstrip() + f"\n\nCure: {check.cure}.\n"


DIALECT_HEAD = """# Messages over {api}

<!-- Written by docs/generate.py from the code. -->

What becomes of each part of the Messages API when an upstream speaks {api}. A part is named by its path in
the official SDK's types, with the `type` of a block or tool in place of its index; `*` stands for anything, `=` comes
before a literal or a `<block>`. The rows tell of a server about which nothing special is known; a
[profile](../configuration.md) can say that a provider takes more. What of a request is dropped, approximated or
emulated is always in its [`latimer-report`](../http.md). `tests/dialects/test_surface.py` sends every part that the
newest SDK knows through the code and compares; it fails when a part has no row.
"""

Table = tuple[str, str, tuple[Row, ...]]
HEADER_TABLE: Table = ("Headers", "None of them goes upstream.", HEADERS)
CHAT_TABLES: tuple[Table, ...] = (
    HEADER_TABLE,
    ("The answer", "Messages, blocks, usage, events, deltas and errors, streamed or whole.", ANSWER),
    (
        "What the upstream says",
        "OpenAI's answer. Losses stand in `latimer-report`, of streams in a comment.",
        FROM_UPSTREAM,
    ),
)


def chat_page() -> str:
    """The page of Chat Completions, as Markdown."""
    asked = request_tables(over_chat.FIELDS, over_chat.BLOCKS, over_chat.TOOLS)
    return dialect_page("Chat Completions", (*asked, *CHAT_TABLES))


def responses_page() -> str:
    """The page of the Responses API, as Markdown."""
    asked = request_tables(over_responses.FIELDS, over_responses.BLOCKS, over_responses.TOOLS)
    words = "OpenAI's answer. What the client gets of it has the same form whatever an upstream speaks."
    heard = ("What the upstream says", words, SAID)
    return dialect_page("the Responses API", (*asked, HEADER_TABLE, heard))


PASSED = """
The client's own bytes go to such an upstream, and what has to be changed is spliced in: *carried* means as they came.
The default is API version 2023-06-01 without a beta, as every endpoint that calls itself compatible has it; for
[Anthropic](../providers/anthropic.md) itself the profile takes everything, and only the model's name is changed.

The answer's bytes go through, too, whatever is in them: Latimer puts the model's name that was asked for in place of
the upstream's, gives ids that cannot be unique one of its own, and words errors as clients act on them. It is read and
written anew, as from any other upstream, where the profile says `native.passthrough = false`, where Latimer runs
tools, matches stop sequences, keeps to one call, edits the context or reviews calls, and where a stream came for a
message or a message for a stream. Each case's `way.json` says which it was.
"""


def messages_page() -> str:
    """The page of upstreams that speak Messages themselves, as Markdown."""
    asked = request_tables(over_messages.FIELDS, over_messages.BLOCKS, over_messages.TOOLS)
    headers = ("Headers", "The version, and the betas that the profile names, go upstream.", over_messages.HEADERS)
    head, meanings, tables = dialect_page("Messages itself", (*asked, headers)).partition("- *carried*")
    return f"{head}{PASSED.lstrip()}\n{meanings}{tables}"


def request_tables(fields: tuple[Row, ...], blocks: tuple[Row, ...], tools: tuple[Row, ...]) -> tuple[Table, ...]:
    """What becomes of a request."""
    return (
        ("The request", "Fields at the top level, and in messages.", fields),
        ("Content blocks", "Wherever they stand, in results and documents too.", blocks),
        ("Tools", "By their `type`; `custom` is also the type of tools that name none.", tools),
    )


def dialect_page(api: str, tables: Iterable[Table]) -> str:
    """The page of a dialect, as Markdown."""
    meanings = "\n".join(f"- *{action}*: {meaning}." for action, meaning in MEANINGS.items())
    sections = "\n".join(f"## {title}\n\n{words}\n\n{table(rows)}\n" for title, words, rows in tables)
    return f"{DIALECT_HEAD.format(api=api)}\n{meanings}\n\n{sections}"


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
    dialect = next(found.parent.name for found in CASES.glob(f"*/{path}"))
    return f"[{path}](../../tests/cases/{dialect}/{path})"


if __name__ == "__main__":
    from provider_pages import pages

    for file, text in pages():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
    PAGE.write_text(page(), "utf-8")
    CHAT_PAGE.parent.mkdir(exist_ok=True)
    CHAT_PAGE.write_text(chat_page(), "utf-8")
    RESPONSES_PAGE.write_text(responses_page(), "utf-8")
    MESSAGES_PAGE.write_text(messages_page(), "utf-8")
    DOCTOR_PAGE.write_text(doctor_page(), "utf-8")
    sys.path.append(str(CASES.parent.parent))
    logging.disable()  # the faults are what the page is about
    from tests.faults.page import write

    write()
