"""Which time the overview is about: ``range=24h``, or ``range=custom`` with ``since`` and ``until``."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import forms

from gateway_project import clock

RANGES: Mapping[str, tuple[str, timedelta]] = {
    "24h": ("24 hours", timedelta(hours=24)),
    "7d": ("7 days", timedelta(days=7)),
    "30d": ("30 days", timedelta(days=30)),
}
LONGEST = timedelta(days=92)


@dataclass(frozen=True, slots=True)
class Range:
    """From when to when, and the name that it has in the address."""

    since: datetime
    until: datetime
    key: str


class RangeForm(forms.Form):
    """Two days or moments of one's own."""

    since = forms.CharField(
        label="From (UTC)",
        widget=forms.TextInput(attrs={"placeholder": "2026-01-01", "size": 16, "autocomplete": "off"}),
    )
    until = forms.CharField(
        label="to (UTC)",
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "now", "size": 16, "autocomplete": "off"}),
    )

    def clean_since(self) -> datetime:
        """A date is its first moment."""
        return self._moment("since", end_of_day=False)

    def clean_until(self) -> datetime:
        """A date is its last moment; nothing is now."""
        return self._moment("until", end_of_day=True) if self.cleaned_data["until"] else clock.now()

    def _moment(self, name: str, *, end_of_day: bool) -> datetime:
        try:
            return clock.parse_moment(self.cleaned_data[name].strip(), end_of_day=end_of_day)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def clean(self) -> dict[str, Any]:
        """In order, and not longer than `LONGEST`."""
        since, until = self.cleaned_data.get("since"), self.cleaned_data.get("until")
        if since and until and since >= until:
            raise forms.ValidationError("The range must begin before it ends.")
        if since and until and until - since > LONGEST:
            raise forms.ValidationError(f"At most {LONGEST.days} days at once.")
        return self.cleaned_data


def chosen(query: Mapping[str, str]) -> tuple[Range, RangeForm]:
    """The range that the address names, and the form; the last 24 hours when it names none, or a wrong one."""
    now = clock.now()
    custom = query.get("range") == "custom"
    form = RangeForm(query if custom else None)
    if custom and form.is_valid():
        return Range(form.cleaned_data["since"], min(form.cleaned_data["until"], now), "custom"), form
    key = query.get("range", "")
    key = key if key in RANGES else "24h"
    return Range(now - RANGES[key][1], now, key), form
