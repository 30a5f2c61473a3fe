"""A gateway tells a webhook on a real socket of runs that end badly, whatever dies right after."""

import uuid
from typing import Any

import pytest

from tests.e2e.abort.test_records import open_run
from tests.e2e.conftest import MakeGateway
from tests.e2e.gateway import Gateway, manage, wait_for
from tests.e2e.responses.client import respond
from tests.e2e.wire import Client, ask
from tests.runs.alerts.receiver import SECRET, Message, Receiver, receiving

pytestmark = pytest.mark.e2e


def webhook(receiver: Receiver, **more: Any) -> dict[str, Any]:
    """The setting."""
    return {"URLS": [receiver.url], "SECRETS": [SECRET], "RETRY_SECONDS": 0.2, **more}


def only(receiver: Receiver, *, within: float = 60) -> Message:
    """The one message that was accepted, signed as it should be."""
    wait_for(lambda: receiver.accepted, within=within, what="the message")
    [message] = receiver.accepted
    for each in receiver.messages:
        receiver.check(each)
    return message


def waiting(gateway: Gateway) -> int:
    """How many alerts are in the outbox."""
    return int(gateway.store.query("SELECT COUNT(*) AS number FROM gateway_run_alert")[0]["number"])


def test_a_receiver_that_fails_twice_hears_of_a_failed_run_the_third_time(make_gateway: MakeGateway) -> None:
    with receiving(503, 503, 200) as receiver:
        gateway = make_gateway(WEBHOOK=webhook(receiver))
        assert respond(gateway, "scripted/fail").status == 500
        assert respond(gateway, "scripted/echo").status == 200
        [failed] = [row for row in gateway.store.runs() if row["status"] == "failed"]
        message = only(receiver)
        assert message.json["type"] == "run.failed"
        assert message.json["data"]["run_id"] == failed["id"]
        assert message.json["data"]["error_code"] == failed["error_code"]
        assert b"tester" not in message.body
        assert len(receiver.messages) == 3
        wait_for(lambda: waiting(gateway) == 0, what="an empty outbox")
        metrics = ask(gateway.port, "GET", "/metrics", key=None).body.decode()
        assert 'gateway_webhooks_total{result="delivered"} 1' in metrics
        assert 'gateway_webhooks_total{result="retried"} 2' in metrics
        assert receiver.url not in gateway.log


def test_an_agent_that_does_not_stop_is_told_of(make_gateway: MakeGateway) -> None:
    with receiving() as receiver:
        gateway = make_gateway(WEBHOOK=webhook(receiver))
        client = Client(gateway.port)
        body = {"model": "scripted/stubborn-3000ms", "input": "x", "stream": True}
        client.send("POST", "/v1/responses", key=gateway.key, body=body)
        run = open_run(gateway, set())
        client.leave("rst")
        message = only(receiver)
        assert message.json["type"] == "run.unresponsive"
        assert message.json["data"]["run_id"] == run["id"]
        assert message.json["data"]["abort_outcome"] == "unresponsive"


def test_a_gateway_that_is_killed_right_after_the_end_leaves_the_message_to_the_next(
    make_gateway: MakeGateway,
) -> None:
    with receiving(20_000, 204) as receiver:
        settings = webhook(receiver, TIMEOUT_SECONDS=3)
        doomed = make_gateway(WEBHOOK=settings)
        assert respond(doomed, "scripted/fail").status == 500
        [run] = doomed.store.runs()
        doomed.store.ended(run["id"])
        doomed.stop()
        assert not receiver.accepted
        assert waiting(doomed) == 1, "it was written with the end"
        make_gateway(WEBHOOK=settings)
        message = only(receiver)
        assert message.json["data"]["run_id"] == run["id"]
        wait_for(lambda: waiting(doomed) == 0, what="an empty outbox")


def test_a_sweep_by_hand_tells_of_what_a_dead_process_left(make_gateway: MakeGateway) -> None:
    with receiving() as receiver:
        doomed = make_gateway(WEBHOOK=webhook(receiver), LEASE_SECONDS=1)
        body = {"model": "scripted/think-60000ms", "input": "x", "stream": True}
        Client(doomed.port).send("POST", "/v1/responses", key=doomed.key, body=body)
        run = open_run(doomed, set())
        doomed.stop()
        wait_for(lambda: "Closed 1 run" in manage("sweepruns", env=doomed.env), what="the sweep")
        message = only(receiver)
        assert message.json["type"] == "run.worker_lost"
        assert message.json["data"]["run_id"] == run["id"] == str(uuid.UUID(run["id"]))
        assert waiting(doomed) == 0


def test_a_gateway_tells_of_its_last_runs_before_it_ends(make_gateway: MakeGateway) -> None:
    with receiving() as receiver:
        gateway = make_gateway(WEBHOOK=webhook(receiver), DRAIN_SECONDS=0.2)
        client = Client(gateway.port)
        body = {"model": "scripted/stubborn-60000ms", "input": "x", "stream": True}
        client.send("POST", "/v1/responses", key=gateway.key, body=body)
        open_run(gateway, set())
        assert gateway.terminate(within=30) == 0
        assert only(receiver).json["type"] == "run.unresponsive"
