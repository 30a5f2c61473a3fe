"""Tests of gateway_project.access."""
