"""Build the documentation as a site: `python -m docs.build_site [FOLDER]`, build/docs unless said otherwise.

The pages are written to be read in the repository, too, so they are copied first, and what only works there is changed:
README.md becomes the first page, links to files that are no pages become plain text, and `providers/*` in the
navigation becomes a line for each page. mkdocs.yml is the configuration; Zensical reads it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs"
CONFIGURATION = ROOT / "mkdocs.yml"
FROM_ROOT = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages that stand in the repository's root, where its readers and their tools look for them."""

_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?![a-z]+:)([^()#\s]+)(#[^()\s]*)?\)")
"""A link to a file: its words, the file, and '#' with a heading."""
_CODE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)


def build(folder: Path) -> Path:
    """Build the site inside a folder, whose contents are replaced. Returns where it is.

    Raises RuntimeError with the generator's words where it warns, of a link that leads nowhere for instance.
    """
    shutil.rmtree(folder, ignore_errors=True)
    stage(folder)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(  # noqa: S603 - this very generator, on files of ours
        command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise RuntimeError(click.unstyle(done.stdout + done.stderr).partition("Traceback")[0])
    return folder / "site"


def stage(folder: Path) -> None:
    """Everything the generator needs, in one folder."""
    names = staged()
    for origin, name in names.items():
        target = folder / "docs" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if origin.suffix == ".md":
            target.write_text(relinked(origin.read_text("utf-8"), origin, names), "utf-8")
        else:
            shutil.copyfile(origin, target)
    settings = configuration()
    settings["nav"] = list(expanded(settings["nav"], names.values()))
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")


def configuration() -> dict[str, Any]:
    """mkdocs.yml."""
    settings: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text("utf-8"))
    return settings


def staged() -> dict[Path, str]:
    """Each file of the site, and its name there."""
    kept = (path for path in sorted(PAGES.rglob("*")) if path.suffix in {".md", ".svg"})
    names = {path: path.relative_to(PAGES).as_posix() for path in kept}
    at_root = {ROOT / origin: name for origin, name in FROM_ROOT.items()}
    return {**names, **{path: name for path, name in at_root.items() if path.exists()}}


def expanded(nav: list[Any], names: Collection[str]) -> Iterator[Any]:
    """The navigation with each `folder/*` as the pages of that folder, README.md first."""
    for entry in nav:
        if isinstance(entry, dict):
            for title, below in entry.items():
                yield {title: list(expanded(below, names)) if isinstance(below, list) else below}
        elif entry.endswith("/*"):
            inside = [name for name in names if name.startswith(entry[:-1]) and name.endswith(".md")]
            yield from sorted(inside, key=lambda name: (not name.endswith("README.md"), name))
        else:
            yield entry


def relinked(text: str, origin: Path, names: Mapping[Path, str]) -> str:
    """A page's text with its links as they are in the site."""

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found.groups("")
        path = Path(os.path.normpath(origin.parent / target))
        name = names.get(path) or names.get(path / "README.md")
        if name:
            return f"[{words}]({Path(os.path.relpath(name, Path(names[origin]).parent)).as_posix()}{anchor})"
        return words if path.exists() else found[0]

    prose_and_code = _CODE.split(text)
    prose_and_code[::2] = [_LINK.sub(link, prose) for prose in prose_and_code[::2]]
    return "".join(prose_and_code)


if __name__ == "__main__":
    try:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "docs"
        sys.stdout.write(f"{build(folder.absolute())}\n")
    except RuntimeError as error:
        sys.exit(str(error))
