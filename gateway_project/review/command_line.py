"""Who is at the command line, for the record."""

import getpass
import os


def os_user() -> str:
    """The name that the operating system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # A container's user may have a number and no name.
        return f"uid {os.getuid()}"


def on_the_command_line() -> str:
    """Who runs this command, as the auditor shall read it."""
    return f"command line ({os_user()})"
