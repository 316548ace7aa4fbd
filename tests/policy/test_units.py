"""The files of services, as each system wants them: compared with what they must be, and read by the system's rules."""

import os
import plistlib
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from latimer.policy.config import parse
from latimer.policy.units import Service, launchd, missing, named_variables, systemd, variables_template, windows

PLAIN = Service(
    ("/usr/bin/python3", "-m", "latimer", "serve", "--config", "/home/me/c.toml"), "/home/me/service.env", "/log"
)
ODD = Service(
    ("/opt/my apps/py%thon", "-m", "latimer", 'a "quoted" $HOME 9%', "back\\slash\\", ""),
    "/home/o'me/my 100% vars.env",
    "/<log> & more",
    "WORK\\me",
)


def test_systemd() -> None:
    assert (
        systemd(PLAIN)
        == """[Unit]
Description=Latimer, a proxy that lets Claude Code use any model

[Service]
Type=notify
ExecStart="/usr/bin/python3" "-m" "latimer" "serve" "--config" "/home/me/c.toml"
ExecReload=/bin/kill -HUP $MAINPID
EnvironmentFile=-/home/me/service.env
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=2
TimeoutStopSec=60

[Install]
WantedBy=default.target
"""
    )


def test_systemd_with_odd_names() -> None:
    lines = systemd(ODD).splitlines()
    command = '"/opt/my apps/py%%thon" "-m" "latimer" "a \\"quoted\\" $$HOME 9%%" "back\\\\slash\\\\" ""'
    assert f"ExecStart={command}" in lines
    assert "EnvironmentFile=-/home/o'me/my 100%% vars.env" in lines


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_itself_takes_the_unit(tmp_path: Path) -> None:
    program = tmp_path / "my 100% apps" / "python"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "latimer.service"
    unit.write_text(systemd(Service((str(program), *ODD.command[1:]), str(tmp_path / "a 100% b.env"), "")))
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(unit)],
        env=variables, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "latimer.service" not in done.stderr + done.stdout
    unit.write_text(unit.read_text().replace("ExecStart=", "ExecStart=nothing"))
    broken = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(unit)],
        env=variables, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "latimer.service" in broken.stderr + broken.stdout, "it would not have noticed"


LAUNCHD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>io.github.latimer</string>
	<key>ProgramArguments</key>
	<array>
		<string>/bin/sh</string>
		<string>-c</string>
		<string>if [ -r "$1" ]; then set -a; . "$1"; set +a; fi; shift; exec "$@"</string>
		<string>latimer</string>
		<string>/home/me/service.env</string>
		<string>/usr/bin/python3</string>
		<string>-m</string>
		<string>latimer</string>
		<string>serve</string>
		<string>--config</string>
		<string>/home/me/c.toml</string>
	</array>
	<key>RunAtLoad</key>
	<true/>
	<key>KeepAlive</key>
	<dict>
		<key>SuccessfulExit</key>
		<false/>
	</dict>
	<key>ThrottleInterval</key>
	<integer>10</integer>
	<key>ProcessType</key>
	<string>Interactive</string>
	<key>StandardOutPath</key>
	<string>/log</string>
	<key>StandardErrorPath</key>
	<string>/log</string>
</dict>
</plist>
"""


def test_launchd() -> None:
    assert launchd(PLAIN) == LAUNCHD
    assert plistlib.loads(launchd(ODD).encode())["ProgramArguments"][4:] == [ODD.variables, *ODD.command]


@pytest.mark.skipif(os.name != "posix", reason="there is no sh")
@pytest.mark.parametrize("there", [True, False])
def test_launchds_command_reads_variables(tmp_path: Path, there: bool) -> None:
    variables = tmp_path / "my vars.env"
    if there:
        variables.write_text("# mine\nKEY='a b'\n")
    service = Service(("/bin/sh", "-c", 'printf "%s|%s" "$KEY" "$1"', "x", "an argument"), str(variables), "")
    command = plistlib.loads(launchd(service).encode())["ProgramArguments"]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True)
    assert done.stdout == ("a b|an argument" if there else "|an argument")


WINDOWS = """<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>Latimer, a proxy that lets Claude Code use any model</Description>
  </RegistrationInfo>
  <Triggers>
    <LogonTrigger>
      <Enabled>true</Enabled>
      <UserId>WORK\\me</UserId>
    </LogonTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>WORK\\me</UserId>
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
      <Command>/opt/my apps/py%thon</Command>
      <Arguments>-m latimer "a \\"quoted\\" $HOME 9%" back\\slash\\ "" --log-file "/&lt;log&gt; &amp; more"</Arguments>
    </Exec>
  </Actions>
</Task>
"""


def test_windows() -> None:
    assert windows(ODD) == WINDOWS
    task = ElementTree.fromstring(windows(ODD).replace("UTF-16", "UTF-8").encode())
    arguments = task.find(".//{*}Arguments")
    assert arguments is not None
    assert arguments.text == subprocess.list2cmdline([*ODD.command[1:], "--log-file", ODD.log])


# --- variables ---


CONFIG = """
[server]
token = "env:LATIMER_TOKEN"
[providers.a]
base_url = "http://h/v1"
api_key = "env:A_KEY|OTHER_KEY"
headers = { "x-team" = "env:TEAM", "x-plain" = "env" }
[providers.b]
base_url = "http://h/v1"
api_key = "keyring:b"
[routes]
default = "a/m"
"""


def test_variables_that_a_service_needs() -> None:
    config = parse(CONFIG, "my.toml")
    assert named_variables(config) == [("LATIMER_TOKEN",), ("A_KEY", "OTHER_KEY"), ("TEAM",)]
    assert variables_template(config).splitlines()[1:] == ["#LATIMER_TOKEN=", "#A_KEY=", "#TEAM="]
    assert missing(config, variables_template(config), {"OTHER_KEY": "k"}) == [
        ("LATIMER_TOKEN", False),
        ("A_KEY", True),
        ("TEAM", False),
    ]
    assert missing(config, "LATIMER_TOKEN=t\nOTHER_KEY = k\nTEAM=x\n", {}) == []
