"""The connection: consumer base, request body, replies, SSE, errors, host and CORS, model catalogue, servers."""
