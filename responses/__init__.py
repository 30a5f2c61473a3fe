"""``POST /v1/responses``: Open Responses."""
