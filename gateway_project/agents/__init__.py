"""What can run: the Agent contract, its events, the registry, and one backend a file."""
