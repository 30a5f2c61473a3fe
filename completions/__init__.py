"""``POST /v1/chat/completions``: OpenAI Chat Completions."""
