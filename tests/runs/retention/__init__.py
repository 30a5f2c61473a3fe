"""Purging, erasing, holding."""
