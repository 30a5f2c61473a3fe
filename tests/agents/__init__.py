"""Tests of what can run: the contract, the registry, and each backend."""
