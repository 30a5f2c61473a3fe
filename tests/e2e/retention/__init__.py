"""Purging and erasing beside running gateways."""
