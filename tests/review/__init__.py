"""Tests of gateway_project.review."""
