"""What is kept of content, over a real server."""
