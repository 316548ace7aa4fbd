"""Write docs/command-line.md from the command line itself: `python docs/generate.py`. A test compares the two."""

from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from latimer.cli import app

PAGE = Path(__file__).with_name("command-line.md")

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


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
