"""The signature is that of Standard Webhooks; what is wrong with the setting is said."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from gateway_project import conf
from gateway_project.runs import posting
from gateway_project.runs.alerts.signature import signed_headers
from tests.runs.alerts.receiver import SECRET


def test_the_example_of_the_specification() -> None:
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}', [SECRET])
    assert headers == {
        "Content-Type": "application/json",
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_while_a_secret_is_changed_both_sign() -> None:
    at = datetime.fromtimestamp(1614265330, UTC)
    other = "whsec_" + "QUJD" * 8
    signatures = signed_headers("msg_1", at, b"{}", [other, SECRET])["webhook-signature"].split(" ")
    assert [signature.partition(",")[0] for signature in signatures] == ["v1", "v1"]
    assert signatures[1] == signed_headers("msg_1", at, b"{}", [SECRET])["webhook-signature"]
    assert len(set(signatures)) == 2


GOOD: dict[str, Any] = {"URLS": ["https://a.example/"], "SECRETS": [SECRET]}


@pytest.mark.parametrize(
    ("webhook", "said"),
    [
        ({"URL": "https://a.example/"}, "is not a known key"),
        ({"URLS": "https://a.example/"}, "must be a list of strings"),
        (GOOD | {"URLS": ["https://a.example/", "a.example"]}, "number 2 is no http or https address"),
        (GOOD | {"URLS": ["http://[::1"]}, "number 1 is no http or https address"),
        ({"URLS": ["https://a.example/"]}, "'SECRETS'] must not be empty"),
        (GOOD | {"SECRETS": ["geheim"]}, "number 1 is no 'whsec_'"),
        (GOOD | {"SECRETS": ["whsec_QUJD"]}, "number 1 is no 'whsec_'"),
        (GOOD | {"SECRETS": [SECRET.removeprefix("whsec_")]}, "number 1 is no 'whsec_'"),
        (GOOD | {"SECRETS": ["whsec_" + "!" * 40]}, "number 1 is no 'whsec_'"),
        (GOOD | {"ENDS": ["failled"]}, "'failled' is none of"),
        (GOOD | {"ATTEMPTS": 0}, "must be a whole number above zero"),
        (GOOD | {"CAPACITY": 0}, "must be a whole number above zero"),
        (GOOD | {"RETRY_SECONDS": 0}, "must be a number above zero"),
        (GOOD | {"TIMEOUT_SECONDS": 0}, "must be a number above zero"),
    ],
)
def test_what_is_wrong_is_said_and_no_secret_with_it(webhook: dict[str, Any], said: str) -> None:
    found, problems = conf.read({"WEBHOOK": webhook})
    assert found is None
    text = " ".join(f"{problem.where} {problem.message}" for problem in problems)
    assert said in text
    assert "geheim" not in text


def test_a_good_one_is_taken() -> None:
    found, problems = conf.read({"WEBHOOK": GOOD | {"URLS": ["http://10.0.0.7:9000/x"]}})
    assert problems == []
    assert found is not None
    assert (found.WEBHOOK.ENDS, found.WEBHOOK.ATTEMPTS) == (("unresponsive", "worker_lost", "failed"), 12)


def test_a_missing_client_is_told_at_the_start(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with override_settings(GATEWAY=settings.GATEWAY | {"WEBHOOK": GOOD}):
        assert not [message for message in run_checks(tags=["gateway"]) if message.id == "gateway.E011"]
        monkeypatch.setattr(posting, "find_spec", lambda name: None)
        [error] = [message for message in run_checks(tags=["gateway"]) if message.id == "gateway.E011"]
    assert "pip install" in error.msg
