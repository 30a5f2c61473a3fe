"""The gateway: any agent behind two standard HTTP endpoints, and a record of how each run ended."""

__version__ = "0.1.0"
