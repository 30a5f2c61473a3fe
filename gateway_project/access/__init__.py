"""Who is asking: API keys, principals, authentication adapters."""
