"""What the servers lack. Each module mends one server; a server that is not loaded is left alone."""

import sys


def install_remedies() -> None:
    """Install the remedies for the servers that are loaded. Safe to call more than once."""
    if "daphne.server" in sys.modules:
        from gateway_project.transport.servers import daphne

        daphne.install()
