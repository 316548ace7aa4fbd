"""The review of tool calls that Claude Code's auto mode asks for, by a classifier model: docs/auto-mode.md."""
