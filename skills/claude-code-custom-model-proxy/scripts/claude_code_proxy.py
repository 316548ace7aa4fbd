#!/usr/bin/env python3
"""Runs `latimer serve` in the foreground with the settings this script has always had. It ends with Ctrl-C.

    UPSTREAM_HOST=api.example.com API_KEY=... FORCED_MODEL=NAME python3 claude_code_proxy.py
    ANTHROPIC_BASE_URL=http://127.0.0.1:4002 ANTHROPIC_AUTH_TOKEN=any claude

Settings, all from the environment, none with a host or a key in it:

    UPSTREAM_HOST      where prompts go: a host (https) or a URL. Required, unless Latimer has a configuration.
    UPSTREAM_PATH      the path of its endpoint; /v1/chat/completions
    API_KEY            its key
    FORCED_MODEL       the model that answers for every name Claude Code asks for
    LISTEN_PORT        the port on 127.0.0.1; 4002
    MAX_RETRIES        how often a request is tried; 3
    BASE_WAIT_SECONDS  the first wait between tries

Arguments are those of `latimer serve`. Everything that Claude Code sends goes to UPSTREAM_HOST; none of it is logged.
"""

import importlib.util
import os
import shutil
import subprocess
import sys

INSTALL = """claude_code_proxy.py: Latimer is not installed. Install it with one of
  uv tool install PACKAGE
  pipx install PACKAGE
  python3 -m pip install PACKAGE
where PACKAGE is the folder or address of Latimer's repository, or latimer once it is released to PyPI.
"""


def command():
    """The command line of Latimer, [] where there is none."""
    if importlib.util.find_spec("latimer"):
        return [sys.executable, "-m", "latimer"]
    program = shutil.which("latimer")
    return [program] if program else []


def main():
    latimer = command()
    if not latimer:
        sys.stderr.write(INSTALL)
        return 2
    line = [*latimer, "serve", *sys.argv[1:]]
    if os.name == "posix":
        os.execv(line[0], line)  # noqa: S606 - signals reach Latimer itself, and nothing is left behind
    return subprocess.call(line)  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
