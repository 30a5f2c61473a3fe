"""What is in the outbox arrives: at once, again when it failed, once where several try, and never at others' cost."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from gateway_project import clock, ids
from gateway_project.conf import gateway_settings
from gateway_project.runs.alerts import courier as couriers
from gateway_project.runs.alerts import outbox
from gateway_project.runs.alerts.courier import Courier, SignalCourier, WebhookCourier, couriers_of
from gateway_project.runs.alerts.office import Office
from gateway_project.runs.alerts.outbox import SIGNAL, WEBHOOKS, payload_of, target_of
from gateway_project.runs.models import Run, RunAlert
from gateway_project.runs.signals import run_ended_badly
from tests.e2e.gateway import wait_for
from tests.runs.alerts.receiver import SECRET, Receiver, receiving
from tests.runs.records import make_record
from tests.runs.seals.conftest import ended

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def configure(settings: Any) -> Callable[..., None]:
    def configured(*urls: str, **webhook: Any) -> None:
        whole = {"URLS": list(urls), "SECRETS": [SECRET], "RETRY_SECONDS": 0.05, **webhook}
        settings.GATEWAY = settings.GATEWAY | {"WEBHOOK": whole}

    return configured


@pytest.fixture
def started() -> Iterator[list[Courier]]:
    """Couriers that are ended after the test."""
    begun: list[Courier] = []
    yield begun
    for courier in begun:
        courier.stop()
    for courier in begun:
        courier.join(30)


def alert(target: str, *, due_in: float = 0, **fields: Any) -> RunAlert:
    end = ended(make_record(), status="failed", error_code="x")
    return RunAlert.objects.create(
        run=end.id,
        target=target,
        event="failed",
        payload=payload_of(end, "failed", "scripted"),
        due_at=clock.now() + timedelta(seconds=due_in),
        **fields,
    )


def counted() -> dict[str, int]:
    return {labels[0]: value for labels, value in WEBHOOKS._values.items()}


def empty() -> bool:
    return not RunAlert.objects.exists()


def begin(url: str, started: list[Courier]) -> Courier:
    courier = WebhookCourier(url, gateway_settings())
    started.append(courier)
    courier.start()
    return courier


def test_a_receiver_that_fails_twice_gets_the_same_message_until_it_accepts(
    configure: Callable[..., None], started: list[Courier]
) -> None:
    with receiving(500, 302, 204) as receiver:
        configure(receiver.url)
        before = counted()
        row = alert(target_of(receiver.url))
        begin(receiver.url, started)
        wait_for(empty, what="the delivery")
        assert [message.status for message in receiver.messages] == [500, 302, 204]
        assert len({(message.headers["webhook-id"], message.body) for message in receiver.messages}) == 1
        assert receiver.messages[0].headers["webhook-id"] == f"msg_{row.pk.hex}"
        for message in receiver.messages:
            receiver.check(message)
        assert receiver.messages[0].json["data"]["run_id"] == str(row.run)
        wait_for(lambda: counted()["delivered"] == before["delivered"] + 1, what="the count")
        assert counted()["retried"] == before["retried"] + 2


def test_what_never_arrives_is_given_up_and_said(
    configure: Callable[..., None], started: list[Courier], caplog: pytest.LogCaptureFixture
) -> None:
    with receiving(500) as receiver:
        configure(receiver.url, ATTEMPTS=3)
        before = counted()
        row = alert(target_of(receiver.url))
        begin(receiver.url, started)
        wait_for(empty, what="the giving up")
        wait_for(lambda: counted()["given_up"] == before["given_up"] + 1, what="the count")
        assert len(receiver.messages) == 3
    [record] = [record for record in caplog.records if record.getMessage() == "alerts.given_up"]
    assert (record.run_id, record.attempts) == (row.run, 3)  # type: ignore[attr-defined]  # from `extra`
    assert receiver.url not in caplog.text


def test_410_is_for_ever(configure: Callable[..., None], started: list[Courier]) -> None:
    with receiving(410) as receiver:
        configure(receiver.url)
        alert(target_of(receiver.url))
        begin(receiver.url, started)
        wait_for(empty, what="the giving up")
        assert len(receiver.messages) == 1


def test_silence_is_a_failure(configure: Callable[..., None], started: list[Courier]) -> None:
    with receiving(20_000, 204) as receiver:
        configure(receiver.url, TIMEOUT_SECONDS=1.5)
        alert(target_of(receiver.url))
        begin(receiver.url, started)
        wait_for(empty, what="the delivery")
        assert len(receiver.messages) == 2


def test_nobody_there_is_a_failure_and_costs_the_other_address_nothing(
    configure: Callable[..., None], started: list[Courier]
) -> None:
    with receiving() as receiver, receiving(7000) as slow:
        dead = "http://127.0.0.1:1/"
        configure(dead, slow.url, receiver.url, RETRY_SECONDS=300)
        rows = [alert(target_of(url)) for url in (dead, slow.url, receiver.url)]
        for courier in couriers_of(gateway_settings()):
            started.append(courier)
            courier.start()
        wait_for(lambda: receiver.accepted and slow.messages, within=6, what="the delivery")
        wait_for(lambda: RunAlert.objects.get(pk=rows[0].pk).attempts == 1, what="the attempt")
        waits = RunAlert.objects.get(pk=rows[0].pk).due_at - clock.now()
        wait_for(lambda: RunAlert.objects.get(pk=rows[0].pk).due_at - clock.now() > timedelta(seconds=200), what="wait")
        told = RunAlert.objects.get(pk=rows[0].pk).last_error
        assert told
        assert "127.0.0.1" not in told, "an address may be a secret"
        assert waits < timedelta(seconds=400)


def test_attempts_are_further_and_further_apart(configure: Callable[..., None]) -> None:
    configure("http://127.0.0.1:1/", RETRY_SECONDS=5)
    courier = WebhookCourier("http://127.0.0.1:1/", gateway_settings())
    for attempts, seconds in ((1, 5), (2, 10), (3, 20), (8, 640)):
        waits = [courier._wait_after(attempts).total_seconds() / seconds for _ in range(20)]
        assert 0.8 <= min(waits) < max(waits) <= 1.2
    assert courier._wait_after(200) == timedelta(days=1)


def test_several_processes_deliver_each_once(configure: Callable[..., None], started: list[Courier]) -> None:
    with receiving() as receiver:
        configure(receiver.url)
        rows = [alert(target_of(receiver.url)) for _ in range(30)]
        for _ in range(4):
            begin(receiver.url, started)
        wait_for(empty, within=30, what="the delivery")
        delivered = sorted(message.headers["webhook-id"] for message in receiver.messages)
        assert delivered == sorted(f"msg_{row.pk.hex}" for row in rows)


def test_whoever_wrote_it_delivers_at_once_and_others_leave_it(
    configure: Callable[..., None], started: list[Courier]
) -> None:
    with receiving() as receiver:
        configure(receiver.url)
        row = alert(target_of(receiver.url), due_in=60)
        begin(receiver.url, started)
        writer = begin(receiver.url, started)
        time.sleep(0.3)
        assert receiver.messages == []
        writer.add(row)
        wait_for(lambda: receiver.accepted, what="the delivery")


def test_what_a_dead_process_had_claimed_is_anothers_in_time(
    configure: Callable[..., None], started: list[Courier]
) -> None:
    with receiving() as receiver:
        configure(receiver.url)
        claimed = alert(target_of(receiver.url), due_in=60)
        dead = WebhookCourier(receiver.url, gateway_settings())
        assert dead._claim(claimed)
        assert not dead._claim(RunAlert(pk=claimed.pk, target=claimed.target, attempts=0)), "one claim, one courier"
        assert RunAlert.objects.get().due_at < clock.now() + timedelta(seconds=21), "a claim lapses"
        RunAlert.objects.update(due_at=clock.now())
        begin(receiver.url, started)
        wait_for(empty, what="the delivery")
        assert len(receiver.accepted) == 1


def test_what_is_for_nobody_any_more_goes_in_the_end(configure: Callable[..., None], started: list[Courier]) -> None:
    with receiving() as receiver:
        configure(receiver.url)
        young = alert("gone")
        alert("gone", created_at=clock.now() - timedelta(days=8))
        begin(receiver.url, started)
        wait_for(lambda: list(RunAlert.objects.values_list("pk", flat=True)) == [young.pk], what="the end")


def test_the_signal_is_sent_in_a_thread_of_its_own_outside_of_transactions(started: list[Courier]) -> None:
    heard: list[dict[str, Any]] = []

    def receiver(sender: Any, **kwargs: Any) -> None:
        thread = threading.current_thread()
        heard.append(kwargs | {"sender": sender, "thread": thread.name, "atomic": connection.in_atomic_block})
        raise ZeroDivisionError

    def another(sender: Any, **kwargs: Any) -> None:
        heard.append({"another": Run.objects.count()})

    run_ended_badly.connect(receiver)
    run_ended_badly.connect(another)
    try:
        row = alert(SIGNAL)
        courier = SignalCourier("default")
        started.append(courier)
        courier.start()
        wait_for(empty, what="the signal")
    finally:
        run_ended_badly.disconnect(receiver)
        run_ended_badly.disconnect(another)
    first, second = heard
    assert (first["sender"], first["run_id"], first["event"]) == (Run, row.run, "failed")
    assert first["data"]["error_code"] == "x"
    assert (first["thread"], first["atomic"]) == ("gateway-alerts-signal", False)
    assert second == {"another": 0}, "one that raises harms no other"


def test_a_receiver_that_blocks_holds_up_no_webhook_and_no_end(configure: Callable[..., None]) -> None:
    release = threading.Event()

    def receiver(**kwargs: Any) -> None:
        release.wait(30)

    run_ended_badly.connect(receiver)
    try:
        with receiving() as hook:
            configure(hook.url)
            office = Office(gateway_settings())
            office.open()
            outbox._tell([alert(SIGNAL, due_in=60), alert(target_of(hook.url), due_in=60)])
            wait_for(lambda: hook.accepted, within=15, what="the webhook")
            began = clock.monotonic()
            office.close(within=0.3)
            assert clock.monotonic() - began < 10
    finally:
        release.set()
        run_ended_badly.disconnect(receiver)
        wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("gateway-alerts")], what="the end")


def test_closing_delivers_what_was_just_written(configure: Callable[..., None]) -> None:
    with receiving() as receiver:
        configure(receiver.url)
        office = Office(gateway_settings())
        office.open()
        outbox._tell([alert(target_of(receiver.url), due_in=60) for _ in range(5)])
        office.close(within=30)
        assert len(receiver.accepted) == 5
        assert empty()


def test_a_database_that_is_away_is_waited_for(
    configure: Callable[..., None], started: list[Courier], monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    work, failures = Courier._work, iter([OperationalError("away"), ValueError("odd")])

    def sometimes(courier: Courier) -> None:
        for error in failures:
            raise error
        work(courier)

    monkeypatch.setattr(couriers.Courier, "_work", sometimes)
    with receiving() as receiver:
        configure(receiver.url)
        alert(target_of(receiver.url))
        begin(receiver.url, started)
        wait_for(empty, what="the delivery")


def test_where_nobody_is_to_be_told_there_is_no_thread(settings: Any) -> None:
    assert couriers_of(gateway_settings()) == []
    office = Office(gateway_settings())
    office.open()
    outbox._tell([RunAlert(run=ids.new_run_id(), target="x")])
    office.close(within=1)
    assert not [t for t in threading.enumerate() if t.name.startswith("gateway-alerts")]


def test_the_receiver_of_these_tests_knows_a_wrong_signature(
    configure: Callable[..., None], started: list[Courier]
) -> None:
    with receiving() as receiver:
        configure(receiver.url)
        alert(target_of(receiver.url))
        begin(receiver.url, started)
        wait_for(lambda: receiver.messages, what="the delivery")
        other: Receiver = Receiver(secret="whsec_" + "QUJD" * 8)
        with pytest.raises(AssertionError):
            other.check(receiver.messages[0])
