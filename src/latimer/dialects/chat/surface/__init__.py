"""What becomes of each part of the Messages API before Chat Completions, and back. Shown in docs/dialects/chat.md."""
