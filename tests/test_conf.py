"""``GATEWAY``: what is wrong is said, with what may have been meant."""

from typing import Any

import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from gateway_project import conf

SCRIPTED = {"BACKEND": "gateway_project.agents.scripted.ScriptedAgent"}


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings, problems = conf.read({"AGENTS": {"a": SCRIPTED}})
    assert problems == []
    assert settings is not None
    assert (settings.GRACE_SECONDS, settings.DRAIN_SECONDS, settings.HEARTBEAT_SECONDS) == (5, 20, 15)
    assert (settings.TIMEOUT_SECONDS, settings.KEEPALIVE_SECONDS) == (600, 75)
    assert (settings.LIMITS.BODY_BYTES, settings.LIMITS.QUEUED_RUNS, settings.LIMITS.QUEUE_SECONDS) == (
        10 * 1024 * 1024,
        100,
        30,
    )


WRONG: list[tuple[Any, str, str | None]] = [
    ([], "must be a dict", None),
    ({"AGENT": {}}, "is not a known key", "Did you mean 'AGENTS'?"),
    ({"AGENTS": {"a": {"BACKEN": "x"}}}, "needs a 'BACKEND'", None),
    ({"AGENTS": {"a": SCRIPTED | {"OPTION": {}}}}, "is not a known key", "Did you mean 'OPTIONS'?"),
    ({"AGENTS": {"a/b": SCRIPTED}}, "without '/'", None),
    ({"AGENTS": {"a" * 65: SCRIPTED}}, "must have at most 64 characters", None),
    ({"AGENTS": {"a": SCRIPTED | {"ON_DISCONNECT": "linger"}}}, "linger:SECONDS", "Say for how many whole seconds"),
    ({"AGENTS": {"a": SCRIPTED | {"ON_DISCONNECT": "linger:²"}}}, "linger:SECONDS", "Say for how many whole seconds"),
    ({"AGENTS": {"a": SCRIPTED | {"ON_DISCONNECT": "lingr:5"}}}, "linger:SECONDS", "Did you mean 'linger'?"),
    ({"AGENTS": {"a": SCRIPTED | {"ON_DISCONNECT": "cancle"}}}, "must be 'cancel'", "Did you mean 'cancel'?"),
    ({"AGENTS": {"support": SCRIPTED}, "DEFAULT_AGENT": "suport"}, "no agent", "Did you mean 'support'?"),
    ({"AGENTS": {"support": SCRIPTED}, "MODELS": {"m": "suport/x"}}, "no agent", "Did you mean 'support'?"),
    ({"DATABASE": "defautl"}, "no database alias", "Did you mean 'default'?"),
    ({"LIMITS": {"QUEUE_SECOND": 1}}, "is not a known key", "Did you mean 'QUEUE_SECONDS'?"),
    ({"LIMITS": {"QUEUED_RUNS": "many"}}, "must be a whole number", None),
    ({"LIMITS": {"QUEUED_RUNS": 1.5}}, "must be a whole number", None),
    ({"GRACE_SECONDS": True}, "must be a number", None),
    ({"GRACE_SECONDS": -1}, "must be a number of at least zero", None),
    ({"TIMEOUT_SECONDS": 0}, "must be a number above zero", None),
    ({"JOURNAL_SECONDS": 0}, "must be a number above zero", None),
    ({"LEASE_SECONDS": 0}, "must be a number above zero", None),
    ({"LIMITS": {"CONCURRENT_RUNS": 0}}, "must be a whole number above zero", None),
    ({"LIMITS": {"BODY_BYTES": 0}}, "must be a whole number above zero", None),
    ({"AGENTS": {"a": SCRIPTED | {"CONCURRENT_RUNS": 0}}}, "must be a whole number above zero", None),
    ({"AGENTS": {"a": SCRIPTED | {"FIRST_OUTPUT_SECONDS": 0}}}, "must be a number above zero", None),
    ({"AGENTS": {"a": SCRIPTED | {"TIMEOUT_SECONDS": 0}}}, "must be a number above zero", None),
    ({"TRUSTED_PROXIES": ["::1", "localhost"]}, "'localhost' is no address or network.", None),
    ({"TRUSTED_PROXIES": ["10.0.0.0/33"]}, "'10.0.0.0/33' is no address or network.", None),
    ({"TRUSTED_PROXIES": [""]}, "'' is no address or network.", None),
    ({"INPUTS": {"URL": 1}}, "is not a known key", "Did you mean 'URLS'?"),
    ({"INPUTS": {"FETCH_SECONDS": 0}}, "must be a number above zero", None),
    ({"INPUTS": {"HOSTS": ["https://a.example"]}}, "'https://a.example' is no host.", None),
    ({"INPUTS": {"HOSTS": ["*"]}}, "'*' is no host.", None),
    ({"INPUTS": {"PRIVATE_HOSTS": ["10.0.0.0/8"]}}, "'10.0.0.0/8' is no host.", None),
    ({"INPUTS": {"PRIVATE_HOSTS": ["a.example:70000"]}}, "'a.example:70000' is no host.", None),
    ({"INPUTS": {"IMAGE_TYPES": ["png"]}}, "'png' is no media type", None),
    ({"INPUTS": {"PART_BYTES": 2, "TOTAL_BYTES": 1}}, "must not be more than 'TOTAL_BYTES'", None),
    ({"GRACE_SECONDS": None}, "must not be None", None),
    ({"SPILL_DIR": ""}, "'' is not the absolute path of a folder.", None),
    ({"SPILL_DIR": "spill"}, "'spill' is not the absolute path of a folder.", None),
    ({"SPILL_DIR": __file__}, "is not the absolute path of a folder.", None),
    ({"CORS_ORIGINS": "https://x"}, "must be a list of strings", None),
    ({"CORS_ORIGINS": ["*", "https://x.example/"]}, "'https://x.example/' is no origin.", "without a path or a slash"),
    ({"CORS_ORIGINS": ["x.example"]}, "'x.example' is no origin.", None),
    ({"CORS_ORIGINS": ["https://X.example"]}, "'https://X.example' is no origin.", None),
    ({"LIMITS": {"CONCURRENT_RUNS_PER_KEY": 0}}, "must be a whole number above zero", None),
    ({"LIMITS": {"RUNS_PER_MINUTE": 0}}, "must be a whole number above zero", None),
    ({"LIMITS": {"TOKENS_PER_MINUTE": 0}}, "must be a whole number above zero", None),
    ({"RESPONSES": {"RETENTION_DAYS": 4_000_000}}, "must be at most 365000", "do not run purgeresponses"),
    ({"DEFAULT_AGENT": 1}, "must be a string", None),
    ({"MODELS": ["a"]}, "must be a dict", None),
]


class Needy:
    """An adapter that nobody can make."""

    def __init__(self, secret: str) -> None:
        """Keep it."""

    async def authenticate(self, scope: Any) -> None:
        """Know nobody."""


class Sync:
    """An adapter that nobody can await."""

    def authenticate(self, scope: Any) -> None:
        """Know nobody."""


@pytest.mark.parametrize(("raw", "message", "hint"), WRONG)
def test_every_wrong_setting_is_told(raw: Any, message: str, hint: str | None) -> None:
    settings, problems = conf.read(raw)
    assert settings is None
    assert message in problems[0].message
    assert hint is None or hint in str(problems[0].hint)


def test_an_agents_name_may_be_as_long_as_the_records_have_room_for() -> None:
    columns = [field for model in apps.get_models() for field in model._meta.fields if field.name == "agent"]
    assert {field.max_length for field in columns} == {conf.AGENT_NAME_CHARACTERS}
    _, problems = conf.read({"AGENTS": {"a" * conf.AGENT_NAME_CHARACTERS: SCRIPTED}})
    assert problems == []


def test_zero_is_allowed_where_it_means_none_or_never() -> None:
    times = ["GRACE_SECONDS", "DRAIN_SECONDS", "DRAIN_NOTICE"]
    times += ["HEARTBEAT_SECONDS", "SLOW_READER_SECONDS", "KEEPALIVE_SECONDS"]
    limits = ("QUEUED_RUNS", "QUEUE_SECONDS", "REJECTED_ROWS_PER_MINUTE")
    settings, problems = conf.read(
        {
            "AGENTS": {"a": SCRIPTED | {"GRACE_SECONDS": 0}},
            "LIMITS": dict.fromkeys(limits, 0),
            **dict.fromkeys(times, 0),
        }
    )
    assert problems == []
    assert settings is not None


def test_trusted_proxies_are_addresses_or_networks_of_both_kinds() -> None:
    _, problems = conf.read({"TRUSTED_PROXIES": ["127.0.0.1", "10.1.2.3/8", "::1", "fd00::/8"]})
    assert problems == []


@pytest.mark.parametrize("path", ["ScriptedAgent", "", ".ScriptedAgent", "..ScriptedAgent", "a..b", "shop/agents.py"])
def test_what_is_no_dotted_path_is_told_by_the_system_check(path: str) -> None:
    with override_settings(GATEWAY={"AGENTS": {"a": {"BACKEND": path}}, "AUTHENTICATION": [path]}):
        found = {message.id: message.msg for message in run_checks(tags=["gateway"])}
    assert found == {
        "gateway.E004": f"GATEWAY['AGENTS']['a']['BACKEND']: {path!r} is no dotted path such as 'package.module.Name'.",
        "gateway.E005": f"GATEWAY['AUTHENTICATION']: {path!r} is no dotted path such as 'package.module.Name'.",
    }


def test_a_module_that_is_not_there_is_told_by_the_system_check() -> None:
    with override_settings(GATEWAY={"AGENTS": {"a": {"BACKEND": "nowhere.at.All"}}}):
        [error] = run_checks(tags=["gateway"])
    assert (error.id, error.hint) == ("gateway.E004", None)
    assert "cannot import 'nowhere.at.All'" in error.msg


def test_the_system_check_tells_them_too() -> None:
    with override_settings(GATEWAY={"AGENTS": {"a": {"BACKEND": "gateway_project.agents.scripted.ScriptdAgent"}}}):
        [error] = [message for message in run_checks(tags=["gateway"]) if message.id == "gateway.E004"]
    assert error.hint == "Did you mean 'ScriptedAgent'?"


@pytest.mark.parametrize(
    ("wrong", "id_", "said"),
    [
        ({"BACKGROUND": "nowhere.Nothing"}, "gateway.E009", "cannot import 'nowhere.Nothing'"),
        ({"BACKGROUND": "os.sep"}, "gateway.E009", "'os.sep' is no BackgroundBackend class."),
        ({"AGENTS": {"a": {"BACKEND": "os.sep"}}}, "gateway.E004", "'os.sep' is no Agent class."),
        (
            {"AUTHENTICATION": ["os.sep"]},
            "gateway.E005",
            "'os.sep' is no class that is made without arguments and has an async method 'authenticate'.",
        ),
        (
            {"AUTHENTICATION": ["pathlib.Path"]},
            "gateway.E005",
            "is no class that is made without arguments and has an async method 'authenticate'.",
        ),
        (
            {"AUTHENTICATION": ["tests.test_conf.Sync"]},
            "gateway.E005",
            "is no class that is made without arguments and has an async method 'authenticate'.",
        ),
        ({"AUTHENTICATION": ["tests.test_conf.Needy"]}, "gateway.E005", "is no class that is made without arguments"),
        ({"CONTENT_REDACTION": ["os.sep"]}, "gateway.E008", "'os.sep' is no function."),
        ({"RUN_VISIBILITY": "os.sep"}, "gateway.E007", "'os.sep' is no function."),
        ({"API": {"THROTTLES": ["os.sep"]}}, "gateway.E007", "'os.sep' is no class."),
    ],
)
def test_what_is_there_but_of_the_wrong_kind_is_told_too(wrong: dict[str, Any], id_: str, said: str) -> None:
    with override_settings(GATEWAY={"AGENTS": {"a": SCRIPTED}} | wrong):
        [error] = run_checks(tags=["gateway"])
    assert error.id == id_
    [key] = wrong
    assert f"GATEWAY['{key}']" in error.msg
    assert said in error.msg


def test_a_permission_of_keys_that_no_model_declares_is_told_without_the_database() -> None:
    names = ["gateway_runs.viewrun", "gateway_access.add_apikey", "gateway_runs.set_legal_hold", "auth.view_user"]
    with override_settings(GATEWAY={"AGENTS": {"a": SCRIPTED}, "API": {"KEY_PERMISSIONS": names}}):
        [warning] = run_checks(tags=["gateway"])
    assert (warning.id, warning.hint) == ("gateway.W003", "Did you mean 'gateway_runs.view_run'?")
    assert "'gateway_runs.viewrun'" in warning.msg


def test_times_without_a_zone_are_told() -> None:
    with override_settings(USE_TZ=False):
        [error] = run_checks(tags=["gateway"])
    assert (error.id, error.hint) == ("gateway.E012", "Set USE_TZ = True.")


def test_a_process_does_not_run_with_wrong_settings() -> None:
    with override_settings(GATEWAY={"GRACE_SECOND": 1}), pytest.raises(ImproperlyConfigured, match="GRACE_SECONDS"):
        conf.gateway_settings()


def test_settings_are_read_again_when_they_change() -> None:
    with override_settings(GATEWAY={"GRACE_SECONDS": 1}):
        assert conf.gateway_settings().GRACE_SECONDS == 1
    with override_settings(GATEWAY={"GRACE_SECONDS": 2}):
        assert conf.gateway_settings().GRACE_SECONDS == 2


@pytest.mark.parametrize(("value", "kind"), [("cancel", "cancel"), ("finish", "finish"), ("linger:30", "linger")])
def test_what_to_do_on_a_disconnect(value: str, kind: str) -> None:
    settings, problems = conf.read({"AGENTS": {"a": SCRIPTED | {"ON_DISCONNECT": value}}})
    assert not problems
    assert settings is not None
    assert settings.AGENTS["a"].on_disconnect == kind
