"""Webhooks of real gateways."""
