"""Anthropic Messages: what the client speaks."""
