"""Tests of gateway_project.observe."""
