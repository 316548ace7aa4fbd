"""OpenAI Responses upstream."""
