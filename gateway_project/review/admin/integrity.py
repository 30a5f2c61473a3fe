"""Whether a run is what was sealed, and what the last verification of all found."""

from django.contrib import admin
from django.db import connections
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gateway_project.admin_pages.times import utc_seconds
from gateway_project.conf import gateway_settings
from gateway_project.review import verified
from gateway_project.review.admin.verifications import found
from gateway_project.runs.models import Run
from gateway_project.runs.seals.check import check_run


@admin.display(description="this run")
def this_run(run: Run) -> SafeString | str:
    """Compared with its seal just now."""
    connection = connections[gateway_settings().DATABASE]
    state, seal = check_run(run.pk, is_open=run.is_open, connection=connection)
    if seal is None:
        return state.value.capitalize()
    return format_html("{} (seal {} of chain {})", state.value.capitalize(), seal.number, seal.chain)


@admin.display(description="last verification")
def last_verification(run: Run) -> str:
    """Of the whole record, by ``manage.py verifyruns``. A break may name a run that whoever looks may not know of."""
    last = verified.last_verification()
    if last is None or last.finished_at is None:
        return "Never: run manage.py verifyruns"
    return f"{utc_seconds(last.finished_at)} UTC: {found(last)}"
