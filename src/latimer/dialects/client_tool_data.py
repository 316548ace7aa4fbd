"""Anthropic's own client tools, as functions for models that were not taught them.

The names and types of arguments are those of the official SDK's models (anthropic 2.12; a test compares them), or of
https://docs.anthropic.com/en/docs/agents-and-tools/tool-use where the SDK has none. The words are ours.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

Schema = dict[str, Any]


class Function(Struct, frozen=True):
    """What is published of a tool, or of one member of a toolset."""

    description: str
    required: dict[str, Schema] = field(default_factory=dict)
    optional: dict[str, Schema] = field(default_factory=dict)
    enabled: bool = True
    """Whether a toolset has this member unless its `configs` say otherwise."""

    def schema(self) -> Schema:
        """The function's parameters."""
        properties = {**self.required, **self.optional}
        schema: Schema = {"type": "object", "properties": properties}
        return schema | ({"required": list(self.required)} if self.required else {})


def _string(description: str = "") -> Schema:
    return {"type": "string", **({"description": description} if description else {})}


def _integer(description: str = "") -> Schema:
    return {"type": "integer", **({"description": description} if description else {})}


def _one_of(*words: str, description: str = "") -> Schema:
    return {**_string(description), "enum": list(words)}


def _integers(count: int, description: str) -> Schema:
    return {
        "type": "array",
        "items": {"type": "integer"},
        "minItems": count,
        "maxItems": count,
        "description": description,
    }


# --- shell, files, memory -------------------------------------------------------------------------------------------

BASH = Function(
    "Run a command in a bash shell and get its output. The shell stays open from call to call, with its working"
    " directory and variables. It has no terminal, so nothing interactive can run.",
    optional={
        "command": _string("The command. Needed unless the shell is restarted."),
        "restart": {"type": "boolean", "description": "true starts a new shell in place of this one"},
    },
)

_PATH = _string("Absolute path of the file or directory")
_RANGE = _integers(2, "For view: first and last line, counted from 1; -1 as last means the end of the file")


def _editor(insert: str, *more: str) -> Function:
    return Function(
        "View, create and edit text files. `view` shows a file with line numbers, or lists a directory. `create` writes"
        " a whole file. `str_replace` replaces old_str, which must occur exactly once, with new_str. `insert` puts"
        f" {insert} after a line." + (" `undo_edit` takes the last edit of the file back." if more else ""),
        required={"command": _one_of("view", "create", "str_replace", "insert", *more), "path": _PATH},
        optional={
            "file_text": _string("For create: the file's content"),
            "old_str": _string("For str_replace: the text to replace, exactly as it stands in the file"),
            "new_str": _string(
                "For str_replace: the new text"
                + (", and for insert: the text to insert" if insert == "new_str" else "")
            ),
            "insert_line": _integer("For insert: the line after which the text goes, 0 for the beginning"),
            **({insert: _string("For insert: the text to insert")} if insert != "new_str" else {}),
            "view_range": _RANGE,
        },
    )


OLD_EDITOR = _editor("new_str", "undo_edit")
EDITOR = _editor("insert_text")

MEMORY = Function(
    "Keep notes in files under /memories that outlive this conversation. Look there before a task, and write down what"
    " later work will need. `view` shows a file or lists a directory, `create` writes a file, `str_replace` and"
    " `insert` edit one, `delete` removes and `rename` moves a file or directory.",
    required={"command": _one_of("view", "create", "str_replace", "insert", "delete", "rename")},
    optional={
        "path": _string("The file or directory, beginning with /memories; for every command but rename"),
        "view_range": _RANGE,
        "file_text": _string("For create: the file's content"),
        "old_str": _string("For str_replace: the text to replace"),
        "new_str": _string("For str_replace: the new text"),
        "insert_line": _integer("For insert: the line after which the text goes, 0 for the beginning"),
        "insert_text": _string("For insert: the text to insert"),
        "old_path": _string("For rename: the path as it is"),
        "new_path": _string("For rename: the path as it shall be"),
    },
)

# --- the computer as one tool ---------------------------------------------------------------------------------------

ACTIONS_2024 = (
    "key", "type", "mouse_move", "left_click", "left_click_drag", "right_click", "middle_click", "double_click",
    "screenshot", "cursor_position",
)  # fmt: skip
ACTIONS_2025 = (
    *ACTIONS_2024, "scroll", "hold_key", "left_mouse_down", "left_mouse_up", "triple_click", "wait",
)  # fmt: skip

_POINT = _integers(2, "[x, y] in pixels, from the left and the upper edge of the screen")
_DIRECTION = _one_of("up", "down", "left", "right")
_HELD = _string("Keys to hold down meanwhile, such as ctrl or ctrl+shift")
_KEYS = _string("A key or a combination, such as Return, Page_Down or ctrl+s")


def computer(actions: tuple[str, ...]) -> Function:
    """The tool with these actions; each date of it has its own."""
    optional: dict[str, Schema] = {
        "coordinate": {**_POINT, "description": "Where to act: [x, y] in pixels from the upper left corner"},
        "text": _string(
            "For type: what to type. For key and hold_key: the keys, such as ctrl+s. For clicks: keys held"
        ),
    }
    if "scroll" in actions:
        optional |= {
            "start_coordinate": {**_POINT, "description": "For left_click_drag: where the drag begins"},
            "scroll_direction": _DIRECTION,
            "scroll_amount": _integer("For scroll: how many clicks of the wheel"),
            "duration": {"type": "number", "description": "For hold_key and wait: seconds"},
        }
    if "zoom" in actions:
        optional["region"] = _integers(4, "For zoom: [x0, y0, x1, y1] of the part to look at")
    return Function(
        "Use a computer by its screen, mouse and keyboard. Take a screenshot first to see where things are, and again"
        " after acting to see what came of it. Click on the middle of things.",
        required={"action": _one_of(*actions)},
        optional=optional,
    )


ZOOMING = computer((*ACTIONS_2025, "zoom"))
"""What `enable_zoom` makes of it."""

# --- the computer as a toolset --------------------------------------------------------------------------------------


def _click(what: str) -> Function:
    return Function(
        f"{what} at a point of the screen, or where the cursor is when no coordinate is given.",
        optional={"coordinate": _POINT, "text": _HELD},
    )


COMPUTER_MEMBERS: dict[str, Function] = {
    "key": Function(
        "Press a key or a combination of keys.",
        required={"text": _KEYS},
        optional={"repeat": _integer("How many times; 1 unless given")},
    ),
    "hold_key": Function(
        "Hold a key or a combination of keys down for some seconds.",
        required={"duration": _integer("Seconds"), "text": _KEYS},
    ),
    "type": Function("Type text on the keyboard.", required={"text": _string("The text")}),
    "cursor_position": Function("Get where the cursor is, as (x, y) in pixels."),
    "mouse_move": Function(
        "Move the cursor to a point without clicking, to hover. To click there, use a click.",
        required={"coordinate": _POINT},
    ),
    "left_mouse_down": Function("Press the left mouse button where the cursor is, and keep it down."),
    "left_mouse_up": Function("Let go of the left mouse button."),
    "left_click": _click("Click the left mouse button"),
    "left_click_drag": Function(
        "Drag with the left mouse button from one point to another.",
        required={
            "coordinate": {**_POINT, "description": "[x, y] where the drag ends"},
            "start_coordinate": {**_POINT, "description": "[x, y] where the drag begins"},
        },
        optional={"text": _HELD},
    ),
    "right_click": _click("Click the right mouse button"),
    "middle_click": _click("Click the middle mouse button"),
    "double_click": _click("Double-click the left mouse button"),
    "triple_click": _click("Triple-click the left mouse button"),
    "scroll": Function(
        "Turn the mouse wheel at a point of the screen, or where the cursor is. Use this to scroll, not Page_Down.",
        required={"scroll_amount": _integer("Clicks of the wheel"), "scroll_direction": _DIRECTION},
        optional={"coordinate": _POINT, "text": _HELD},
    ),
    "wait": Function("Wait for some seconds.", required={"duration": _integer("Seconds")}),
    "screenshot": Function("Take a picture of the screen."),
    "zoom": Function(
        "Take an enlarged picture of a part of the screen, to read small things.",
        required={"region": _integers(4, "[x0, y0, x1, y1] in the pixels of a whole screenshot")},
    ),
}

# --- the browser as a toolset ---------------------------------------------------------------------------------------

_TAB = _string("The tab to act on; the active one unless given")
_AT_POINT: Schema = {
    "type": "object",
    "description": "A point of the viewport, in the pixels of a screenshot",
    "properties": {"type": _one_of("coordinate"), "x": _integer("From the left"), "y": _integer("From the top")},
    "required": ["type", "x", "y"],
}
_AT_ELEMENT: Schema = {
    "type": "object",
    "description": "An element that read_page or find named, while the page has not changed",
    "properties": {"type": _one_of("ref"), "ref": _string("Its reference, such as ref_7")},
    "required": ["type", "ref"],
}
_ANYWHERE: Schema = {"anyOf": [_AT_POINT, _AT_ELEMENT]}


def _in_tab(
    description: str, required: dict[str, Schema] | None = None, *, enabled: bool = True, **optional: Schema
) -> Function:
    return Function(description, required or {}, {**optional, "tab_id": _TAB}, enabled)


def _page_click(what: str) -> Function:
    held = _string("Keys to hold down meanwhile, such as shift or ctrl+shift")
    return _in_tab(f"{what} on a point or an element.", {"target": _ANYWHERE}, modifiers=held)


_STRINGS: Schema = {"type": "array", "items": {"type": "string"}}
_SECONDS: Schema = {"type": "number", "description": "Seconds"}

BROWSER_MEMBERS: dict[str, Function] = {
    "navigate": _in_tab(
        "Go to a URL, or through the history.", {"url": _string("A URL, or one of back, forward and reload")}
    ),
    "list_tabs": Function("List the open tabs, each with its tab_id, title and URL."),
    "new_tab": Function("Open an empty tab and get its tab_id."),
    "switch_tab": Function("Make a tab the active one.", required={"tab_id": _string("The tab")}),
    "close_tab": Function("Close a tab.", required={"tab_id": _string("The tab")}),
    "read_page": _in_tab(
        "Get the page as a tree of its elements, each with a reference such as [ref_7] that other actions take as"
        " target. When that is too long, ask for the tree under one element, or for fewer levels.",
        depth=_integer("Levels of the tree"),
        filter=_one_of("all", "interactive", description="Only what can be operated, or everything"),
        ref=_string("The element whose tree to get"),
    ),
    "get_page_text": _in_tab("Get the words of the page without its structure; best for articles and documentation."),
    "read_console": _in_tab("Get what the page has written to its console since the last time.", enabled=False),
    "read_network": _in_tab("Get the requests that the page has made since the last time.", enabled=False),
    "find": _in_tab(
        "Find elements by a description of them, and get their references.",
        {"query": _string("What to look for, such as 'the search field'")},
    ),
    "form_input": _in_tab(
        "Set a field of a form.",
        {
            "target": _AT_ELEMENT,
            "value": {
                "anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}],
                "description": "Text or number; true or false for a checkbox; an option's value or text for a list",
            },
        },
    ),
    "file_upload": _in_tab(
        "Put files into a field for files. At least one of paths and document_ids is needed.",
        {"target": _AT_ELEMENT},
        enabled=False,
        document_ids={**_STRINGS, "description": "Files that were made ready for this, by their ids"},
        paths={**_STRINGS, "description": "Files on the browser's machine, by their paths"},
    ),
    "scroll_to": _in_tab("Scroll until an element can be seen.", {"target": _AT_ELEMENT}),
    "screenshot": _in_tab("Take a picture of what the browser shows."),
    "zoom": _in_tab(
        "Take an enlarged picture of a part of the viewport, to read small things.",
        {"region": _integers(4, "[x0, y0, x1, y1] in the pixels of a whole screenshot")},
    ),
    "left_click": _page_click("Click the left mouse button"),
    "right_click": _page_click("Click the right mouse button"),
    "middle_click": _page_click("Click the middle mouse button"),
    "double_click": _page_click("Double-click the left mouse button"),
    "triple_click": _page_click("Triple-click the left mouse button, which selects a line or paragraph,"),
    "hover": _in_tab("Move the cursor to a point or an element without clicking.", {"target": _ANYWHERE}),
    "left_click_drag": _in_tab(
        "Drag with the left mouse button from one point to another.", {"from": _AT_POINT, "target": _AT_POINT}
    ),
    "left_mouse_down": _in_tab(
        "Press the left mouse button at a point and keep it down, for drags of your own.", {"target": _AT_POINT}
    ),
    "left_mouse_up": _in_tab("Let go of the left mouse button at a point.", {"target": _AT_POINT}),
    "mouse_move": _in_tab("Move the cursor to a point without clicking.", {"target": _AT_POINT}),
    "scroll": _in_tab(
        "Turn the mouse wheel at a point.",
        {"scroll_direction": _DIRECTION, "target": _AT_POINT},
        scroll_amount=_integer("Clicks of the wheel"),
    ),
    "type": _in_tab("Type text where the focus is.", {"text": _string("The text")}),
    "key": _in_tab(
        "Press a key or a combination of keys.",
        {"text": _string("Such as Return or ctrl+a; several one after another with spaces between")},
        repeat=_integer("How many times"),
    ),
    "hold_key": _in_tab("Hold a key or a combination of keys down.", {"duration": _SECONDS, "text": _KEYS}),
    "wait": _in_tab("Wait for some seconds.", {"duration": _SECONDS}),
    "javascript_exec": _in_tab(
        "Run JavaScript in the page and get the value of its last expression, which is not to be returned.",
        {"text": _string("The code")},
        enabled=False,
    ),
}

TOOLSETS: dict[str, tuple[str, dict[str, Function]]] = {
    "computer_toolset_20260801": ("computer", COMPUTER_MEMBERS),
    "browser_toolset_20260801": ("browser", BROWSER_MEMBERS),
}
"""The type of a toolset to its name and its members."""

TOOLS: dict[str, tuple[str, Function]] = {
    "bash_20241022": ("bash", BASH),
    "bash_20250124": ("bash", BASH),
    "text_editor_20241022": ("str_replace_editor", OLD_EDITOR),
    "text_editor_20250124": ("str_replace_editor", OLD_EDITOR),
    "text_editor_20250429": ("str_replace_based_edit_tool", EDITOR),
    "text_editor_20250728": ("str_replace_based_edit_tool", EDITOR),
    "memory_20250818": ("memory", MEMORY),
    "computer_20241022": ("computer", computer(ACTIONS_2024)),
    "computer_20250124": ("computer", computer(ACTIONS_2025)),
    "computer_20251124": ("computer", computer(ACTIONS_2025)),
}
"""The type of a tool to its name and its function."""
