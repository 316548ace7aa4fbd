"""The pages of docs/providers, from the preset's files: what a provider's page says is what its preset does.

The rules' words are the docstrings of `latimer.profile`; reasons and sources are the comments of the preset's file.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import latimer.profile
from latimer.cli.providers import endpoints, example, preferred
from latimer.policy import presets as package
from latimer.policy.presets import SECTIONS, Preset, presets

FOLDER = Path(__file__).with_name("providers")

INDEX = """# Providers

<!-- Written by docs/generate.py from src/latimer/policy/presets. -->

What Latimer knows of providers by itself. A provider that is not here works too: give its `base_url`, and if it needs
them its rules ([configuration](../configuration.md)). `latimer providers` shows this list, `latimer providers NAME` one
of them in full.

The presets were written from public documentation, source code and threads, and **not run against the live
providers**. `latimer probe` asks a provider what its models can do, and refusals teach Latimer the rest. If a preset is
wrong, your own rules come before its rules.

*Asked in* is the API that requests go to unless you set `dialect`; the provider has the others, too.
"""

SOURCES = """## Sources

- `owner/repository#number`: a thread on GitHub
- models.dev: the providers' files of anomalyco/models.dev, which quote their documentation
- pi-ai, pydantic-ai, litellm, @ai-sdk/…: clients for many providers in the named version, npm `@earendil-works/pi-ai`
  and `@ai-sdk/…`, PyPI `pydantic-ai-slim` and `litellm`
- cc-switch, CLIProxyAPI, 9router: proxies for coding agents, farion1231/cc-switch, router-for-me/CLIProxyAPI and
  decolua/9router
- kosong, agentscope-java, vscode-copilot-chat: code of MoonshotAI/kimi-cli, agentscope-ai/agentscope-java and
  microsoft/vscode-copilot-chat
- vllm, sglang, llama.cpp, ollama, lmstudio-ai/docs, huggingface/hub-docs, OpenRouterTeam/docs: the provider's own code
  or documentation

A `?` behind a source means that it is weak, or that others disagree.
"""

HEAD = """# {title}

<!-- Written by docs/generate.py from src/latimer/policy/presets/{name}.toml. -->

The preset `{name}`, written from the sources below and not run against the live provider. The provider's own
documentation: <{docs}>

```toml
{example}
```
"""

APIS = {"chat": "Chat Completions", "responses": "the Responses API", "messages": "the Messages API"}
TITLES = {
    "endpoint": "API",
    "request": "Requests",
    "reasoning": "Reasoning",
    "tools": "Tools",
    "messages": "Messages",
    "media": "Images and documents",
    "cache": "Caching",
    "native": "The Messages API",
    "prices": "Prices",
}


def pages() -> Iterator[tuple[Path, str]]:
    """Every page with the file it belongs into."""
    known = presets()
    yield FOLDER / "README.md", index(known)
    for name, preset in known.items():
        yield FOLDER / f"{name}.md", page(preset)


def index(known: Mapping[str, Preset]) -> str:
    """The list of all presets."""
    rows = ["| preset | provider | asked in | also has | variable of the key | other addresses |", "| --- " * 6 + "|"]
    for name, preset in known.items():
        own, used = preset.addresses["default"], preferred(preset)
        cells = [
            f"[{name}]({name}.md)",
            preset.title,
            ", ".join(used),
            ", ".join(dialect for dialect in own.dialects if dialect not in used),
            _codes(own.api_key_env),
            _codes(list(preset.addresses)[1:]),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([INDEX, *rows, "", SOURCES])


def page(preset: Preset) -> str:
    """One preset's page."""
    blocks = comments(files(package).joinpath(f"{preset.name}.toml").read_text("utf-8"))
    head = HEAD.format(title=preset.title, name=preset.name, docs=preset.docs, example=example(preset))
    return "\n".join(
        [head, *_keys(preset), *_notes(preset), *_addresses(preset), *_rules(preset, blocks), *_basis(blocks)]
    )


class Comments:
    """What a block of a preset's file says in its comments: `why`, and `sources`."""

    def __init__(self, text: str) -> None:
        lines = [line[2:] for line in text.splitlines() if line.startswith("# ")]
        self.why = " ".join(line for line in lines if not line.startswith("source: "))
        self.sources = [line.removeprefix("source: ") for line in lines if line.startswith("source: ")]


def comments(text: str) -> list[tuple[str, Comments]]:
    """The blocks of a preset's file with the names of their tables, '' for its head."""
    parts = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    return [(match[1] if (match := re.match(r"\[+([^]]+)\]", part)) else "", Comments(part)) for part in parts]


def _keys(preset: Preset) -> Iterator[str]:
    variables = preset.addresses["default"].api_key_env
    if not variables:
        return
    first = f"`api_key` may be left out: {_codes(variables, ' or ')} is used by itself, for the provider's own hosts."
    header = "" if preset.key_header == "authorization" else f" The key goes in the header `{preset.key_header}`."
    yield f"{first}{header}\n"


def _notes(preset: Preset) -> Iterator[str]:
    if preset.notes:
        yield "## What to know\n"
        yield "\n".join(f"- {note}" for note in preset.notes) + "\n"


def _addresses(preset: Preset) -> Iterator[str]:
    yield "## Addresses\n"
    first, *others = (APIS[dialect] for dialect in preferred(preset))
    some = f", for some models to {' or '.join(others)}" if others else ""
    yield f"Requests go to {first}{some}, unless you set `dialect`.\n"
    yield "| `address` | API | URL | variable of the key |\n| --- | --- | --- | --- |"
    for name, address in preset.addresses.items():
        for dialect, url in endpoints(preset, address):
            yield f"| `{name}` | {dialect} | `{url}` | {_codes(address.api_key_env)} |"
    yield ""
    if preset.headers:
        yield f"Every request carries {_codes([f'{key}: {value}' for key, value in preset.headers.items()])}.\n"


def _rules(preset: Preset, blocks: list[tuple[str, Comments]]) -> Iterator[str]:
    yield "## What is different\n"
    if not preset.rules and not preset.models:
        yield "Nothing: it takes what most servers accept, or what it does not take is not known.\n"
        return
    yield "Only rules that differ from the [defaults](../configuration.md#providersname).\n"
    said = dict(blocks)
    for section, fields in preset.rules.items():
        yield f"### {TITLES[section]}\n"
        yield from _table({section: fields}, said[section].why)
    for entry, (_, remarks) in zip(preset.models, [each for each in blocks if each[0] == "models"], strict=True):
        yield f"### Models `{entry.match}`\n"
        yield from _table(entry.rules, remarks.why)


def _table(rules: Mapping[str, Any], why: str) -> Iterator[str]:
    if why:
        yield f"{why}\n"
    yield "| rule | value | what it means |\n| --- | --- | --- |"
    for section, fields in rules.items():
        for field, value in fields.items():
            yield f"| `{section}.{field}` | {_cell(f'`{toml(value)}`')} | {_cell(meaning(section, field, value))} |"
    yield ""


def _basis(blocks: list[tuple[str, Comments]]) -> Iterator[str]:
    """The sources of each section, those of the models' rules together."""
    yield "## Sources\n"
    found: dict[str, list[str]] = {}
    for name, remarks in blocks:
        title = TITLES.get(name, {"": "Addresses and keys", "models": "Models"}.get(name, "Addresses and keys"))
        for source in remarks.sources:
            known = found.setdefault(title, [])
            known += [each for each in re.split(r", (?![^(]*\))", source) if each not in known]
    yield "\n".join(f"- {title}: {linked(', '.join(sources))}" for title, sources in found.items())
    yield "\n[What the names mean](README.md#sources)\n"


def meaning(section: str, field: str, value: Any) -> str:
    """The words of a field's docstring; of a list of its values, what is said of this one."""
    text = docstrings()[section][field]
    start = text.find(f"`{value}`: ") if isinstance(value, str) else -1
    if start < 0:
        return text
    said = re.split(r"[;.](?: |$)", text[start:].split(": ", 1)[1], maxsplit=1)[0]
    return f"{said[0].upper()}{said[1:]}."


def docstrings() -> dict[str, dict[str, str]]:
    """What stands below each field of each section in `latimer.profile`."""
    tree = ast.parse(Path(latimer.profile.__file__).read_text("utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    own = {
        node.target.id: node.annotation.id
        for node in classes["Profile"].body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.annotation, ast.Name)
    }
    return {section: _fields(classes[own[section]]) for section in SECTIONS}


def _fields(node: ast.ClassDef) -> dict[str, str]:
    words = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            words[field.target.id] = " ".join(str(below.value.value).split()) if is_text else ""
    return words


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {toml(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def linked(text: str) -> str:
    """Threads as links."""
    return re.sub(r"([\w-]+/[\w.-]+)#(\d+)", r"[\1#\2](https://github.com/\1/issues/\2)", text)


def _codes(names: Any, between: str = ", ") -> str:
    return between.join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
