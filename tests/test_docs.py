"""The guides say what the code does, and their examples run."""

import asyncio
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import get_commands
from django.test import Client
from pytest_django import Settings

from gateway_project import __version__, clock, conf, ids
from gateway_project.access.models import APIKey
from gateway_project.agents.events import TextDelta
from gateway_project.agents.request import AgentRequest, Message, TextPart
from gateway_project.agents.signal import AbortSignal
from gateway_project.execution.inputs.problems import CODES, InputError
from gateway_project.input_settings import InputSettings
from gateway_project.runs.models import Run
from gateway_project.runs.vocabulary import AbortCause, AbortOutcome, RunStatus
from gateway_project.webhook_settings import WebhookSettings
from tests import docs
from tests.review.conftest import completed

ROOT = docs.DOCS.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(docs.DOCS.glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("name", docs.MADE)
def test_what_is_made_from_the_code_is_the_codes_own(name: str) -> None:
    assert (docs.DOCS / name).read_text() == docs.MADE[name](), "run: python -m tests.docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, page.name, "exec")


def test_the_agent_of_the_guide_runs() -> None:
    [block] = blocks(docs.DOCS / "agents.md", "python")
    namespace: dict[str, Any] = {}
    exec(block, namespace)
    parrot = namespace["Parrot"]("parrot", {})
    request = AgentRequest(run_id=ids.new_run_id(), model="", messages=(Message("user", (TextPart("a b"),)),))

    async def said() -> list[Any]:
        return [event async for event in parrot.run(request, AbortSignal())]

    assert asyncio.run(said())[:2] == [TextDelta("a "), TextDelta("b ")]


WITHOUT_REVIEW = """
from tests import settings
settings.INSTALLED_APPS.remove("gateway_project.review")
import django
django.setup()
from django.contrib import admin
from django.core.management import get_commands, load_command_class
admin.autodiscover()
commands = get_commands()
purge = load_command_class(commands["purgeruns"], "purgeruns").create_parser("manage.py", "purgeruns")
ours = ("gateway_project.", "responses.")
print(*(model.__name__ for model in admin.site._registry if model.__module__.startswith(ours)))
print(*commands)
print("--looks-older-than" in purge.format_help())
"""


def test_what_is_gone_without_the_review_app_stands_in_the_guide() -> None:
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", WITHOUT_REVIEW]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages, commands, has_option = done.stdout.splitlines()
    assert (set(pages.split()), has_option) == ({"APIKey", "StoredResponse"}, "False")
    ours = {name for name, app in get_commands().items() if app == "gateway_project.review"}
    assert ours.isdisjoint(commands.split())
    [said] = re.findall(r"^- the commands (.*);$", (docs.DOCS / "adopting.md").read_text(), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", said)) == ours


def test_every_setting_stands_in_the_guide() -> None:
    page = (docs.DOCS / "operating.md").read_text()
    for section in (
        conf.GatewaySettings,
        conf.LimitSettings,
        conf.ResponseSettings,
        conf.APISettings,
        WebhookSettings,
        conf.AgentSettings,
    ):
        for name in section.__dataclass_fields__:
            assert f"`{name}`" in page or f"`{name} " in page, name


def test_the_guides_log_is_that_of_the_project_of_its_own(settings: Settings) -> None:
    [block] = blocks(docs.DOCS / "adopting.md", "python")
    namespace: dict[str, Any] = {}
    exec(block, namespace)
    assert namespace["LOGGING"] == settings.LOGGING


def test_the_readme_builds_this_version_and_names_every_extra() -> None:
    page = (ROOT / "README.md").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert f"/channels_agent_gateway-{__version__}-py3-none-any.whl[" in page
    [said] = re.findall(r"with the extras you need \(([^)]*)\)", page)
    assert set(re.findall(r"`(\w+)`", said)) == set(extras) - {"project"}


def test_the_guide_to_content_can_be_followed() -> None:
    settings, hook = blocks(docs.DOCS / "content.md", "python")
    namespace: dict[str, Any] = {}
    exec(settings + hook, namespace)
    read, problems = conf.read(namespace["GATEWAY"])
    assert (problems, read is not None and read.AGENTS["hr"].CONTENT) == ([], "digest")
    assert namespace["redact_customers"]("of C-12345678.") == "of [redacted: customer]."


@pytest.mark.django_db
def test_the_guides_rule_of_whose_runs_may_be_seen_is_for_people_and_keys(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules: Any = ModuleType("shop.rules")
    [block] = blocks(docs.DOCS / "api.md", "python")
    exec(block, vars(rules))
    monkeypatch.setitem(sys.modules, rules.__name__, rules)
    settings.GATEWAY = settings.GATEWAY | {"RUN_VISIBILITY": rules.GATEWAY["RUN_VISIBILITY"]}
    for label in ("web shop", "nina", "elsewhere"):
        Run.objects.create(**completed(clock.now()) | {"principal_label": label})
    _, text = APIKey.objects.create_key("web shop", operate=True)
    key, person = Client(headers={"Authorization": f"Bearer {text}"}), Client()
    nina = User.objects.create_user("nina")
    nina.user_permissions.set(Permission.objects.filter(codename="view_run"))
    person.force_login(nina)
    for client, name in ((key, "web shop"), (person, "nina")):
        [run] = client.get("/api/runs/").json()["results"]
        assert run["principal"] == name


def test_every_setting_and_code_of_inputs_stands_in_their_guide() -> None:
    page = (docs.DOCS / "inputs.md").read_text()
    for name in InputSettings.__dataclass_fields__:
        assert f"`{name}`" in page, name
    for code in {InputError.code, *(code for codes in CODES.values() for code in codes.values())}:
        assert f"`{code}`" in page, code


@pytest.mark.parametrize("vocabulary", [RunStatus, AbortCause, AbortOutcome])
def test_every_word_of_the_vocabulary_is_explained(vocabulary: Any) -> None:
    page = (docs.DOCS / "records.md").read_text()
    for word in vocabulary:
        assert f"| `{word.value}` |" in page


def test_every_error_code_of_ours_stands_in_the_guide() -> None:
    page = (docs.DOCS / "fields.md").read_text()
    sources = [*(ROOT / "gateway_project" / "transport").glob("*.py"), *(ROOT / "gateway_project").glob("*/*.py")]
    codes = {code for path in sources for code in re.findall(r'code(?:: str)? ?= ?"([a-z_]+)"', path.read_text())}
    internal = {"agent_error", "invalid_request", "engine_error", "scripted_failure", "run_closed"}
    for code in codes - internal:
        assert f"`{code}`" in page or code.startswith("upstream"), code


def test_the_changelog_knows_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_json_in_the_guides_is_json() -> None:
    for page in PAGES:
        for block in blocks(page, "json"):
            json.loads(block)
