"""Write what was measured into a page, between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bench import proxies


def replace(page: str, name: str, text: str) -> str:
    """`page` with `text` between the markers of `name`; raises ValueError if it has no such markers."""
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page has no {begin} … {end}")
    return f"{before}{begin}\n{text.strip()}\n{end}{after}"


def write(path: Path, name: str, text: str) -> None:
    """Rewrite the section `name` of the page at `path`."""
    path.write_text(replace(path.read_text(), name, text))


def stamp(names: list[str]) -> str:
    """When, on what machine, and with which versions."""
    versions = [f"CPython {platform.python_version()}", *(f"{name} {_version(name)}" for name in names)]
    machine = f"{os.cpu_count()} CPUs ({_processor()}), {platform.system()} {platform.machine()}"
    load = os.getloadavg()[0]
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"{day}, {machine}, load {load:.1f} at the end; {', '.join(versions)}"


def _processor() -> str:
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return model[1].strip() if model else platform.processor() or "of a kind that it does not say"


def _version(name: str) -> str:
    if name == "nginx":
        said = subprocess.run([proxies.nginx_binary() or "nginx", "-v"], capture_output=True, text=True, check=True)
        return said.stderr.strip().rpartition("/")[2]
    if name == "ccr":
        return str(json.loads((proxies.CCR_PACKAGE / "package.json").read_text())["version"])
    if name == "litellm":
        found = next(proxies.LITELLM.glob("lib/python*/site-packages/litellm-[0-9]*.dist-info"))
        return found.name.removeprefix("litellm-").removesuffix(".dist-info")
    return metadata.version({"llama.cpp": "xllamacpp"}.get(name, name))
