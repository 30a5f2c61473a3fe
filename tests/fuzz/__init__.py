"""Requests made up from the protocols' own files: whatever is sent, the reply keeps to them."""
