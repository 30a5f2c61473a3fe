"""Times in the admin: in UTC and called so, since those who compare pages sit in different places."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

NOTHING = "–"  # noqa: RUF001 (a dash for "none", as the admin writes it)


def utc_seconds(at: datetime) -> str:
    """``2026-11-20 14:03:22``, UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def utc_column(field: str, description: str, *, is_sortable: bool = False) -> Callable[[Any], SafeString | str]:
    """A column or field that shows a time to the second, and says that it is UTC.

    Args:
        is_sortable: for short lists. An address can sort by such a column whatever the list's ``sortable_by`` says.
    """

    @admin.display(description=f"{description} (UTC)", ordering=field if is_sortable else None)
    def moment(row: Any) -> SafeString | str:
        at = getattr(row, field)
        if at is None:
            return NOTHING
        date, _, time = utc_seconds(at).partition(" ")
        return format_html('<span class="gw-whole">{}</span> <span class="gw-whole">{}</span>', date, time)

    moment.__name__ = field
    return moment
