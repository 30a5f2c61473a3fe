"""Tests of gateway_project.runs.seals."""
