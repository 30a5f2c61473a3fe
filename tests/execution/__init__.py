"""Tests of gateway_project.execution."""
