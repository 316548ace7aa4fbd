"""Style is a test: limits of size, the layers, purity below the shell, a test for each module, docs that match."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "latimer"
MODULES = sorted(SOURCE.rglob("*.py"))

MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_NESTING = 4
NESTS = ast.If | ast.For | ast.While | ast.With | ast.Try | ast.AsyncFor | ast.AsyncWith | ast.Match

LAYERS = (
    ("errors", "events", "report", "profile", "documents", "images", "memory", "rendering"),
    ("wire",),
    (
        "dialects",
        "stages",
        "answer",
        "repair",
        "pipeline",
        "codecs",
        "server_tools",
        "auto_mode",
        "continuation",
        "domains",
    ),
    ("policy",),
    ("shell", "cli", "launch", "demo", "local_model", "__main__"),
)
"""From the bottom up; a module imports from its own layer and those before it."""
IMPURE = frozenset({"asyncio", "aiohttp", "logging", "time", "random", "uuid", "secrets", "os", "subprocess", "socket"})
PURE_LAYERS = len(LAYERS) - 1

TESTED_ELSEWHERE = {
    "__main__.py": "tests/test_cli.py starts it",
    "shell/web.py": "tests/shell/test_server_tools.py",
    "shell/discretion.py": "tests/security/test_discretion.py",
    "shell/generation.py": "tests/shell/test_service.py",
    "shell/doctor_client.py": "tests/doctor/test_findings.py",
    "shell/doctor_machine.py": "tests/doctor/test_findings.py",
    "shell/doctor_network.py": "tests/doctor/test_findings.py",
    "shell/http/library.py": "tests/shell/test_upstream.py goes through a proxy",
    "cli/__init__.py": "tests/test_cli.py",
    "cli/options.py": "tests/test_cli.py",
    "cli/serving.py": "tests/test_cli.py",
    "cli/run.py": "tests/test_cli.py; tests/interop/test_run.py with the real client",
    "cli/catalog.py": "tests/test_cli.py",
    "dialects/parts.py": "data; tests/dialects/test_content.py makes them",
    "dialects/outgoing.py": "data; tests/dialects/chat/test_request.py makes it",
    "dialects/reader.py": "data; tests/dialects/chat/test_stream.py makes it",
    "demo.py": "tests/interop/test_demo.py",
    "policy/health.py": "data; tests/policy/test_breaker.py and tests/shell/test_slots.py read it",
    "shell/attempt.py": "tests/shell/test_gateway.py and tests/shell/test_chain.py",
    "shell/counting.py": "tests/shell/test_context.py and tests/shell/test_engine.py",
    "shell/guard.py": "tests/shell/test_chain.py",
    "shell/hop.py": "tests/shell/test_gateway.py",
    "profile.py": "data; tests/policy/test_profiles.py merges it",
    "policy/catalog.py": "tests/policy/test_routing.py",
    "policy/diagnosis/facts.py": "data; tests/doctor gathers them",
    "policy/diagnosis/finding.py": "tests/policy/diagnosis/test_writing.py",
    "policy/diagnosis/machine.py": "tests/doctor/test_findings.py",
    "policy/diagnosis/rules.py": "tests/doctor/test_findings.py",
    "policy/presets/__init__.py": "tests/policy/test_presets.py",
    "policy/probing/questions.py": "data; tests/policy/probing/test_interview.py asks them",
    "policy/probing/talk.py": "tests/policy/probing/test_interview.py holds it",
    "policy/tables.py": "tests/policy/test_config.py",
    "dialects/client_tool_data.py": "data; tests/dialects/test_client_tools.py",
    "dialects/schema_dialects.py": "data; tests/dialects/test_schemas.py",
    "dialects/errors/causes.py": "tests/dialects/errors/test_failures.py",
    "dialects/responses/surface/answer.py": "data; tests/dialects/responses/test_surface.py",
    "dialects/chat/surface/answer.py": "data; tests/dialects/test_surface.py",
    "dialects/chat/surface/request.py": "data; tests/dialects/test_surface.py",
    "dialects/messages/surface/request.py": "data; tests/dialects/test_surface.py",
    "dialects/responses/surface/request.py": "data; tests/dialects/test_surface.py",
    "dialects/surface_rows/blocks.py": "data; tests/dialects/test_surface.py",
    "dialects/surface_rows/request.py": "data; tests/dialects/test_surface.py",
    "dialects/surface_rows/tools.py": "data; tests/dialects/test_surface.py",
    "dialects/errors/error_body.py": "tests/dialects/errors/test_failures.py",
    "dialects/errors/waits.py": "tests/dialects/errors/test_failures.py",
}


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def layer_of(name: str) -> int:
    return next((place for place, names in enumerate(LAYERS) if name in names), len(LAYERS))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def depth(node: ast.AST, level: int = 0) -> int:
    """How deep blocks nest; `elif` is no deeper than its `if`."""
    deepest = level
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST):
                continue
            chained = isinstance(node, ast.If) and field == "orelse" and isinstance(child, ast.If)
            inner = level + (isinstance(child, NESTS) and not chained)
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                deepest = max(deepest, depth(child, inner))
    return deepest


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_size(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno + 1 <= MAX_FUNCTION_LINES, node.name
            assert depth(node) <= MAX_NESTING, node.name


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_layers(path: Path) -> None:
    own = layer_of(relative(path).split("/")[0].removesuffix(".py"))
    for module in imported(ast.parse(path.read_text())):
        first, *rest = module.split(".")
        if first == "latimer" and rest:
            assert layer_of(rest[0]) <= own, f"{module} is in a higher layer"
        elif own < PURE_LAYERS:
            assert first not in IMPURE, f"{module} below the shell"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_nothing_waits_or_opens_files_below_the_shell(path: Path) -> None:
    if layer_of(relative(path).split("/")[0].removesuffix(".py")) >= PURE_LAYERS:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await)
        assert not (isinstance(node, ast.Name) and node.id in {"open", "print"})


def test_dialects_do_not_import_each_other_but_for_the_clients_request() -> None:
    for own, others in (("messages", "chat|responses"), ("chat", "responses"), ("responses", "chat")):
        foreign = re.compile(rf"latimer\.dialects\.({others})\b")
        for path in (SOURCE / "dialects" / own).rglob("*.py"):
            assert not [name for name in imported(ast.parse(path.read_text())) if foreign.match(name)], path


def test_every_module_has_its_test() -> None:
    missing = []
    for path in MODULES:
        name = relative(path)
        if name in TESTED_ELSEWHERE or (path.name == "__init__.py" and path.read_text().count("\n") <= 5):
            continue
        test = ROOT / "tests" / path.relative_to(SOURCE).parent / f"test_{path.name}"
        if not test.is_file():
            missing.append(name)
    assert not missing
    assert not [name for name in TESTED_ELSEWHERE if not (SOURCE / name).is_file()]


def test_the_architecture_page_names_every_module_of_the_layers() -> None:
    """The packages and modules of the tree, and each of `policy/` and `wire/`, whose rows list them."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| (shell|policy|translation|wire|hub) \|", line)]
    named = {word for row in rows for word in re.findall(r"\w+", row)}
    places = [*SOURCE.iterdir(), *(SOURCE / "policy").iterdir(), *(SOURCE / "wire").iterdir()]
    there = {path.stem for path in places if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))}
    assert len(rows) == len(LAYERS)
    assert not {name for name in there if not name.startswith("__")} - named
    written = {word for row in rows for word in re.findall(r"`(\w+)[/.]", row)}
    assert not written - there - {path.stem for path in (SOURCE / "dialects").iterdir()}


def test_type_ignores_say_why() -> None:
    for path in MODULES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if "type: ignore" in line:
                assert "type: ignore[" in line, f"{relative(path)}:{number}"
                assert line.count("#") >= 2, f"{relative(path)}:{number} gives no reason"


def test_changelog_has_the_form_of_keep_a_changelog() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    assert lines[0] == "# Changelog"
    assert "## [Unreleased]" in lines
    kinds = {line.removeprefix("### ") for line in lines if line.startswith("### ")}
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_every_dependency_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for requirement in tomllib.loads(text)["project"]["dependencies"]:
        line = next(line for line in text.splitlines() if f'"{requirement}"' in line)
        assert "#" in line.split(f'"{requirement}"')[1]


def test_docs_link_to_files_that_are_there() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in (part.split(")")[0] for part in page.read_text().split("](")[1:]):
            if "://" not in target and not target.startswith("#"):
                assert (page.parent / target.split("#")[0]).exists(), f"{page.name} -> {target}"


def test_starting_the_command_line_does_not_import_the_server() -> None:
    code = "import sys, latimer.cli; print([m for m in ('aiohttp', 'pypdf', 'prometheus_client') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
