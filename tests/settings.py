"""Settings of the test process itself. Servers under test run the project's own settings."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("SECRET_KEY", "only-for-tests")
os.environ.pop("GATEWAY_CONFIG", None)

from gateway_project.settings import *  # noqa: F403
from gateway_project.settings import DATABASES

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, because the journal writes through a connection of its own.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(tempfile.gettempdir()) / f"gateway-test-{os.getpid()}.sqlite3")}

GATEWAY = {
    "AGENTS": {"scripted": {"BACKEND": "gateway_project.agents.scripted.ScriptedAgent", "GRACE_SECONDS": 0.3}},
    "DEFAULT_AGENT": None,
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
WHITENOISE_AUTOREFRESH = True
