"""`latimer serve` as a service of the operating system: the text that each system wants, from one description.

systemd: systemd.service(5), systemd.exec(5), systemd.syntax(7). launchd: launchd.plist(5). Windows: the Task
Scheduler's XML, https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema.
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

import msgspec
from msgspec import Struct

from latimer.policy.config import Config

LABEL = "io.github.latimer"
"""launchd's name of the service."""
WRONG_USAGE = 2
"""Latimer's exit code for a configuration that cannot work: another start would fail, too."""
_TITLE = "Latimer, a proxy that lets Claude Code use any model"
_SOURCING = 'if [ -r "$1" ]; then set -a; . "$1"; set +a; fi; shift; exec "$@"'
"""launchd has nothing like systemd's EnvironmentFile."""
_QUOTED = re.compile(r'[\s"]|^$')


class Service(Struct, frozen=True):
    """What is to run: a command line, the file that variables are read from, where the log goes, and whose it is."""

    command: tuple[str, ...]
    variables: str
    log: str
    user: str = ""


def systemd(service: Service) -> str:
    """A unit for the user's own systemd. Its log is the journal's."""
    return f"""[Unit]
Description={_TITLE}

[Service]
Type=notify
ExecStart={" ".join(map(_for_systemd, service.command))}
ExecReload=/bin/kill -HUP $MAINPID
EnvironmentFile=-{_without_specifiers(service.variables)}
Restart=on-failure
RestartSec=2
RestartPreventExitStatus={WRONG_USAGE}
TimeoutStopSec=60

[Install]
WantedBy=default.target
"""


def launchd(service: Service) -> str:
    """A property list for a LaunchAgent of the user."""
    program = ["/bin/sh", "-c", _SOURCING, "latimer", service.variables, *service.command]
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": program,
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 10,
            "ProcessType": "Interactive",
            "StandardOutPath": service.log,
            "StandardErrorPath": service.log,
        },
        sort_keys=False,
    ).decode()


def windows(service: Service) -> str:
    """A task of the Task Scheduler that begins when the user logs on. Variables are those of the user's account."""
    program, *arguments = service.command
    arguments += ["--log-file", service.log]
    line = escape(" ".join(map(_for_windows, arguments)))
    return f"""<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>{escape(_TITLE)}</Description>
  </RegistrationInfo>
  <Triggers>
    <LogonTrigger>
      <Enabled>true</Enabled>
      <UserId>{escape(service.user)}</UserId>
    </LogonTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>{escape(service.user)}</UserId>
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Hidden>true</Hidden>
    <RestartOnFailure>
      <Interval>PT1M</Interval>
      <Count>3</Count>
    </RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{escape(program)}</Command>
      <Arguments>{line}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


def named_variables(config: Config) -> list[tuple[str, ...]]:
    """The environment variables that hold secrets of a configuration, each with its alternatives, in its order."""
    found = (text.removeprefix("env:") for text in _texts(msgspec.to_builtins(config)) if text.startswith("env:"))
    return [tuple(names.split("|")) for names in dict.fromkeys(found)]


def variables_template(config: Config) -> str:
    """What the file for variables says before the user has written into it."""
    lines = [f"#{names[0]}=\n" for names in named_variables(config)]
    return "".join(["# Variables of the Latimer service, one NAME=value a line. Keep its mode at 600.\n", *lines])


def missing(config: Config, written: str, environ: Mapping[str, str]) -> list[tuple[str, bool]]:
    """Variables of the configuration that the file for variables does not set, and whether this shell has them."""
    names = {line.split("=")[0].strip() for line in written.splitlines() if "=" in line and not line.startswith("#")}
    groups = [group for group in named_variables(config) if not names & set(group)]
    return [(group[0], any(environ.get(name) for name in group)) for group in groups]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _for_systemd(argument: str) -> str:
    quoted = argument.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{_without_specifiers(quoted)}"'


def _without_specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _for_windows(argument: str) -> str:
    """An argument as `CommandLineToArgvW` reads it."""
    if not _QUOTED.search(argument):
        return argument
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', argument)
    return '"' + re.sub(r"(\\+)$", r"\1\1", escaped) + '"'
