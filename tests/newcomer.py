"""From `pip install` to the first answer, as someone new would go: `python -m tests.newcomer`.

A fresh environment and an empty home; the README's first screen is all that is typed. The answer is a scripted
provider's, Claude Code is the real one. Dependencies come from the package registry, so this is no part of the tests.
"""

import subprocess
import sys
import time
from pathlib import Path

from docs.recordings import environment_of, init, new_home

from tests.interop.claude import ROOT
from tests.scenarios.replies import Say
from tests.screen import screen
from tests.upstream import Upstream

MOST_SECONDS = 60.0


class Clock:
    """Prints what each step took."""

    def __init__(self) -> None:
        self.start = self.last = time.monotonic()

    def step(self, name: str) -> None:
        now = time.monotonic()
        print(f"{now - self.last:6.1f} s  {name}")
        self.last = now

    @property
    def total(self) -> float:
        return self.last - self.start


def main() -> int:
    with new_home() as home, Upstream(lambda _: Say("Hello from the scripted provider.")) as upstream:
        environment = {**environment_of(home), "HOME": str(home)}
        clock = Clock()
        place = home / "latimer"
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        clock.step("python3 -m venv ~/latimer")
        install = [str(place / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", f"{ROOT}[keyring]"]
        subprocess.run(install, check=True)
        clock.step("pip install '.[keyring]'")
        latimer = str(place / "bin" / "latimer")
        with screen([latimer, "init"], environment, home / "project", (100, 70)) as terminal:
            init(terminal, upstream.url)
        clock.step("latimer init, answered without a pause for thought")
        answer = _run([latimer, "run", "--", "-p", "Say hello."], environment, home / "project")
        clock.step(f"latimer run -- -p 'Say hello.': {answer.strip()}")
        assert answer.strip() == "Hello from the scripted provider."
        print(f"{clock.total:6.1f} s  in all; at most {MOST_SECONDS:.0f}")
        return int(clock.total > MOST_SECONDS)


def _run(command: list[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
