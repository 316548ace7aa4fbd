"""What is shipped: the contents of sdist and wheel, a wheel that runs by itself, and the container file."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from docs.build_site import ROOT

from latimer import __version__
from latimer.cli import app
from latimer.policy.presets import presets
from tests.latimer_process import latimer

SOURCE = ROOT / "src" / "latimer"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sdist and wheel, built without isolation: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def expected() -> set[str]:
    """Every file of the package."""
    files = (path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(SOURCE.parent).as_posix() for path in files}


def test_the_wheel_holds_the_package_and_its_licence(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        about = f"latimer-{__version__}.dist-info/"
        metadata = wheel.read(f"{about}METADATA").decode()
    assert {name for name in names if not name.startswith(about)} == expected()
    assert f"{about}licenses/LICENSE" in names
    assert re.search(r"^License-Expression: MIT$", metadata, re.MULTILINE)


def test_the_sdist_holds_what_the_wheel_is_made_of(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    package = {f"src/{name}" for name in expected()}
    assert package <= names
    assert names - package == {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO", ".gitignore"}


def test_the_wheel_runs(built: Path, tmp_path: Path) -> None:
    """Unpacked beside its dependencies, with nothing of this checkout in reach."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "wheel")
    code = f"import sys; sys.path.append({sysconfig.get_path('purelib')!r}); from latimer.cli import main; main()"
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "wheel")}

    def shipped(*arguments: str) -> str:
        command = [sys.executable, "-S", "-c", code, *arguments]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert __version__ in shipped("--version")
    assert set(presets()) <= set(shipped("providers").split())
    where = "import latimer; print(latimer.__file__)"
    found = subprocess.run(
        [sys.executable, "-S", "-c", where], env=environment, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()).is_relative_to(tmp_path)


def test_the_container_file_is_clean() -> None:
    """The linter's rules, at every level."""
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, str(ROOT / "Containerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_container_file_sets_what_there_is() -> None:
    text = (ROOT / "Containerfile").read_text("utf-8")
    options = {option.envvar for command in app.commands.values() for option in command.params}
    assert set(re.findall(r"\b(LATIMER_[A-Z_]+)=", text)) <= options
    user = re.search(r"^USER (\d+)", text, re.MULTILINE)
    assert user
    assert int(user[1]) > 0


def test_an_image_gets_no_more_than_it_needs(tmp_path: Path) -> None:
    """What .dockerignore lets through is enough to build the wheel, and has no test, no setting and no key."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    ignored, *rules = [line for line in lines if line and not line.startswith("#")]
    assert ignored == "*"
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    assert set(kept) == {"pyproject.toml", "README.md", "LICENSE", "src"}
    for name in kept:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tmp_path / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def container() -> dict[str, str]:
    """The variables that the container file sets."""
    text = (ROOT / "Containerfile").read_text("utf-8").replace("\\\n", " ")
    return dict(re.findall(r"\b([A-Z_]+)=(\S+)", " ".join(re.findall(r"^ENV (.*)$", text, re.MULTILINE))))


def test_a_container_without_a_token_does_not_start(tmp_path: Path) -> None:
    variables = {**container(), "PATH": os.environ["PATH"], "XDG_CONFIG_HOME": str(tmp_path)}
    assert variables["LATIMER_HOST"] == "0.0.0.0"
    command = [sys.executable, "-m", "latimer", "serve", "--upstream", "http://127.0.0.1:9/v1", "--model", "m"]
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "LATIMER_TOKEN" in done.stderr


def test_the_health_check_tells_life_from_death(tmp_path: Path) -> None:
    text = (ROOT / "Containerfile").read_text("utf-8")
    _, *arguments = json.loads(re.search(r"HEALTHCHECK.*?CMD (\[.*?\])$", text, re.MULTILINE | re.DOTALL)[1])  # type: ignore[index]

    def healthy(port: str) -> bool:
        variables = {"PATH": os.environ["PATH"], "LATIMER_PORT": port}
        done = subprocess.run([sys.executable, *arguments], env=variables, capture_output=True, check=False, timeout=60)
        return done.returncode == 0

    with latimer("http://127.0.0.1:9/v1", home=tmp_path) as server:
        port = server.url.rsplit(":", 1)[1]
        assert healthy(port)
    assert not healthy(port)
