"""Benchmarks: costs beside a floor measured in the same run. They print; they never fail on a time."""
