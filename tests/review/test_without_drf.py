"""A shop without Django REST framework: all else works, and a check says what is missing."""

import os
import subprocess
import sys

from tests.test_docs import ROOT

SCRIPT = """
import sys
sys.modules["rest_framework"] = None  # what importing it raises then is what happens when it is not installed
import django
django.setup()
from django.core.checks import run_checks
from django.core.management import get_commands, load_command_class
from django.urls import resolve, Resolver404
import gateway_project.review.admin
for name in ("cancelrun", "exportruns"):
    load_command_class(get_commands()[name], name)
for address in ("/api/runs/", "/api/keys/"):
    try:
        resolve(address)
    except Resolver404:
        print("absent", address)
print([message.id for message in run_checks(tags=["gateway"])])
"""


def test_the_addresses_are_absent_and_a_check_says_why() -> None:
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["absent /api/runs/", "absent /api/keys/", "['gateway.W002']"]
