"""OpenAI Chat Completions: what most providers and local servers speak."""
