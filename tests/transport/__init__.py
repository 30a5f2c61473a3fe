"""Tests of gateway_project.transport."""
