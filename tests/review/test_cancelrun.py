"""``manage.py cancelrun``: asks, and says what became of it."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from gateway_project import ids
from gateway_project.runs.models import Run
from gateway_project.runs.vocabulary import AbortCause
from tests.review.conftest import MakeRun


def cancel(run_id: str, *options: str) -> str:
    out = StringIO()
    call_command("cancelrun", run_id, *options, stdout=out)
    return out.getvalue()


def test_any_spelling_of_the_id_will_do(make_run: MakeRun) -> None:
    for spell in (str, lambda pk: pk.hex, ids.chat_completion_id, ids.response_id):
        run = make_run("running")
        said = cancel(spell(run.pk), "--reason", "ticket 812")
        assert said == f"Asked: {run.pk}. Its worker aborts it within about a second.\n"
        run.refresh_from_db()
        assert (run.abort_cause, run.abort_reason) == (AbortCause.OPERATOR_CANCELLED, "ticket 812")
        assert run.abort_requested_by.startswith("command line (")


def test_a_second_request_is_kept_as_a_note(make_run: MakeRun) -> None:
    run = make_run("running")
    cancel(str(run.pk))
    assert "had been asked already" in cancel(str(run.pk), "--reason", "hurry")
    assert run.notes.get().text == "operator_cancelled: hurry"


def test_what_cannot_be_cancelled_is_an_error(make_run: MakeRun) -> None:
    ended = make_run("completed")
    with pytest.raises(CommandError, match="had ended already"):
        cancel(str(ended.pk))
    with pytest.raises(CommandError, match="There is no run"):
        cancel(str(ids.new_run_id()))
    with pytest.raises(CommandError, match="not the id of a run"):
        cancel("run-7")
    assert Run.objects.get().abort_requested_at is None


def test_a_user_without_a_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch, make_run: MakeRun) -> None:
    def nameless() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr("getpass.getuser", nameless)
    run = make_run("running")
    cancel(str(run.pk))
    run.refresh_from_db()
    assert run.abort_requested_by.startswith("command line (uid ")
