"""Ids in logs, and health. Others register what they report; this package imports none of them."""
