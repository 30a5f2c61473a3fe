"""How the pages write numbers and times."""

from datetime import timedelta

from django import template

from gateway_project.admin_pages.times import utc_seconds
from gateway_project.review.admin.display import duration

register = template.Library()
register.filter(utc_seconds)  # Django's `date` writes the time of the zone that the shop has set.


@register.filter
def thousands(number: int) -> str:
    """``12,345``."""
    return f"{number:,}"


@register.filter
def plain(number: float) -> str:
    """A coordinate: with a point, whatever the reader's language."""
    return f"{number:.2f}".rstrip("0").rstrip(".")


@register.filter
def lasting(span: timedelta) -> str:
    """``2 min 05 s``."""
    return duration(span)
