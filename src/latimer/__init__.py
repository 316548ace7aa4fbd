"""Latimer: the interpreter between Claude Code and any model provider."""

__version__ = "0.1.0"
