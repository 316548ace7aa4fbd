# ruff: noqa: RUF001  # DeepSeek's marks have full-width bars
"""Tool calls as models write them, each form with one and the same call; and text in which there is none."""

import json

from msgspec import Raw

from latimer.dialects.tools import upstream_name
from latimer.repair.tools import Tools
from latimer.wire.messages import Tool

LONG_NAME = "mcp__a.server__" + "x" * 60
SCHEMAS = {
    "Bash": {
        "type": "object",
        "properties": {
            "command": {"type": "string"},
            "timeout": {"type": "integer"},
            "background": {"type": "boolean"},
            "env": {"type": "object"},
        },
        "required": ["command"],
    },
    "Write": {
        "type": "object",
        "properties": {"file_path": {"type": "string"}, "content": {"type": "string"}},
        "required": ["file_path", "content"],
    },
    "CronList": {"type": "object", "properties": {}},
    LONG_NAME: {"type": "object", "properties": {"q": {"type": "string"}}},
}
TOOLS = Tools(
    lambda: [Tool(name=name, input_schema=Raw(json.dumps(schema).encode())) for name, schema in SCHEMAS.items()],
    upstream_name,
)
ARGUMENTS = {"command": "ls -la", "timeout": 5}
CALL = json.dumps({"name": "Bash", "arguments": ARGUMENTS})
BODY = json.dumps(ARGUMENTS)
FUNCTION = (
    "<function=Bash>\n<parameter=command>\nls -la\n</parameter>\n<parameter=timeout>\n5\n</parameter>\n</function>"
)
PARAMETERS = '<parameter name="command">ls -la</parameter>\n<parameter name="timeout">5</parameter>'
INVOKE = f'<invoke name="Bash">\n{PARAMETERS}\n</invoke>'
GLM = (
    "Bash\n<arg_key>command</arg_key>\n<arg_value>ls -la</arg_value>\n"
    "<arg_key>timeout</arg_key>\n<arg_value>5</arg_value>\n"
)
KIMI = f"<|tool_call_begin|>functions.Bash:0<|tool_call_argument_begin|>{BODY}<|tool_call_end|>"
V3 = f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>Bash\n```json\n{BODY}\n```<｜tool▁call▁end｜>"
V31 = f"<｜tool▁call▁begin｜>Bash<｜tool▁sep｜>{BODY}<｜tool▁call▁end｜>"
DSML = (
    INVOKE.replace("<invoke", "<｜DSML｜invoke")
    .replace("</invoke", "</｜DSML｜invoke")
    .replace("<parameter", "<｜DSML｜parameter")
    .replace("</parameter", "</｜DSML｜parameter")
    .replace('"command">', '"command" string="true">')
)

ONE_CALL: dict[str, str] = {
    "hermes": f"<tool_call>\n{CALL}\n</tool_call>",
    "hermes, in one line": f"<tool_call>{CALL}</tool_call>",
    "hermes, not closed": f"<tool_call>\n{CALL}",
    "hermes, arguments in a string": f"<tool_call>{json.dumps({'name': 'Bash', 'arguments': BODY})}</tool_call>",
    "hermes, arguments first": f"<tool_call>{json.dumps({'arguments': ARGUMENTS, 'name': 'Bash'})}</tool_call>",
    "hermes, parameters": f"<tool_call>{CALL.replace('arguments', 'parameters')}</tool_call>",
    "hermes, trailing comma": f"<tool_call>{CALL[:-1]},}}</tool_call>",
    "hermes, single quotes": f"<tool_call>{{'name': 'Bash', 'arguments': {ARGUMENTS}}}</tool_call>",
    "function_call": f"<function_call>{CALL}</function_call>",
    "tools": f"<tools>\n{CALL}\n</tools>",
    "qwen3-coder": f"<tool_call>\n{FUNCTION}\n</tool_call>",
    "qwen3-coder, without wrapper": FUNCTION,
    "qwen3-coder, without the end of the wrapper": f"<tool_call>\n{FUNCTION}",
    "function with json": f"<function=Bash>{BODY}</function>",
    "glm": f"<tool_call>{GLM}</tool_call>",
    "glm, in one line": f"<tool_call>{GLM.replace(chr(10), '')}</tool_call>",
    "minimax": f"<minimax:tool_call>\n{INVOKE}\n</minimax:tool_call>",
    "invoke": INVOKE,
    "invoke, single quotes": INVOKE.replace('"', "'"),
    "function_calls": f"<function_calls>\n{INVOKE}\n</function_calls>",
    "deepseek 3.2": f"<｜DSML｜function_calls>\n{DSML}\n</｜DSML｜function_calls>",
    "kimi": f"<|tool_calls_section_begin|>{KIMI}<|tool_calls_section_end|>",
    "kimi, without section": KIMI,
    "kimi, section not closed": f"<|tool_calls_section_begin|>{KIMI}",
    "deepseek 3 and r1": f"<｜tool▁calls▁begin｜>{V3}<｜tool▁calls▁end｜>",
    "deepseek 3.1": f"<｜tool▁calls▁begin｜>{V31}<｜tool▁calls▁end｜>",
    "deepseek, section not closed": f"<｜tool▁calls▁begin｜>{V3}",
    "llama": f"<|python_tag|>{CALL.replace('arguments', 'parameters')}",
    "llama, with its end": f"<|python_tag|>{CALL}<|eom_id|>",
    "mistral": f"[TOOL_CALLS][{CALL}]",
    "mistral, one": f"[TOOL_CALLS] {CALL}",
    "mistral, newer": f"[TOOL_CALLS]Bash[ARGS]{BODY}",
    "mistral, with an id": f"[TOOL_CALLS]Bash[CALL_ID]abc123def[ARGS]{BODY}",
    "fenced": f"```json\n{CALL}\n```",
    "fenced, plain": f"```\n{json.dumps({'name': 'Bash', 'input': ARGUMENTS})}\n```\n",
    "fenced, openai": f'```json\n{{"type": "function", "function": {CALL}}}\n```',
}
"""Each form of one and the same call."""
WITHOUT_TEXT: dict[str, str] = {"bare": CALL, "bare, in a list": f"[{CALL}]"}
"""Forms that count only when they are all that is said."""

PROSE = {
    "name of a tag": "Models write <tool_call> before a call and </tool_call> behind it.",
    "tags of html": "<div><p>a < b</p><tools></tools>\n<table>\n</table></div>",
    "brackets": "[link](x) [TOOL_CALLS] is Mistral's mark.",
    "inline code": f"The form is `<tool_call>{CALL}</tool_call>`, as Hermes has it.",
    "double inline code": f"The form is ``<tool_call>`{CALL}</tool_call>``.",
    "code fence": f"Like this:\n\n```xml\n<tool_call>\n{CALL}\n</tool_call>\n```\n",
    "code fence at the end": f"Like this:\n```\n{FUNCTION}\n```",
    "tilde fence": f"~~~~\n<tool_call>{CALL}</tool_call>\n~~~~\nso.",
    "fence that is not closed": f"```xml\n<tool_call>{CALL}</tool_call>",
    "fenced, prose behind it": f"```json\n{CALL}\n```\nThat is how it looks.",
    "fenced, other tool": '```json\n{"name": "Unknown", "arguments": {}}\n```',
    "fenced, no arguments": '```json\n{"name": "Bash"}\n```',
    "fenced, other keys": '```json\n{"name": "Bash", "arguments": {}, "version": "1.0"}\n```',
    "fenced, package": '```json\n{"name": "Bash-tools", "version": "1.0", "scripts": {}}\n```',
    "fenced, python": "```python\nprint({'name': 'Bash'})\n```",
    "bare, prose behind it": f"{CALL} is the call.",
    "other json": '{"answer": 42}',
    "a list": "[1, 2, 3]",
    "check list": "[ ] one\n[x] two\n- [ ] three",
    "unknown tool": '<tool_call>{"name": "Unknown", "arguments": {}}</tool_call>',
    "unknown function": "<function=Unknown>\n<parameter=a>\n1\n</parameter>\n</function>",
    "unknown invoke": '<invoke name="Unknown">\n</invoke>',
    "unknown glm": "<tool_call>Unknown\n<arg_key>a</arg_key>\n<arg_value>b</arg_value>\n</tool_call>",
    "unknown kimi": KIMI.replace("Bash", "Unknown"),
    "unknown deepseek": V3.replace("Bash", "Unknown"),
    "unknown mistral": f"[TOOL_CALLS]Unknown[ARGS]{BODY}",
    "prose behind it": f"<tool_call>{CALL}</tool_call> is how it calls.",
    "cut in a string": '<tool_call>{"name": "Bash", "arguments": {"command": "rm -rf /tmp/x',
    "cut in a parameter": "<function=Bash>\n<parameter=command>\nrm -rf /tmp/x",
    "cut after a parameter": "<function=Bash>\n<parameter=command>\nls\n</parameter>\n",
    "cut in an invoke": '<invoke name="Bash">\n<parameter name="command">ls</parameter>',
    "cut in kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.Bash:0<|tool_call_argument_begin|>{",
    "cut in deepseek": V3[:60],
    "only an opener": "<tool_call>",
    "half an opener": "and so <tool_c",
    "shell": "Run `cat <<EOF` and then\n\n    a <b> c\n\nif [ $x ]; then `date`; fi ~~ ~ ~~~",
    "typescript": "const f = <T,>(x: Array<T>): Map<string, T[]> => [x] as any; // `x` ``` y",
    "blank": " \n\n ",
    "unclosed backtick": "a ` b",
    "windows": "line\r\n```\r\nx\r\n```\r\n",
}
"""Text in which there is no call."""
