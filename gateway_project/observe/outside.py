"""Views that no transaction is opened for."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction

View = TypeVar("View", bound=Callable[..., Awaitable[Any]])


def outside_transactions(view: View) -> View:
    """Mark `view` as one that needs none: Django refuses to call async views where ``ATOMIC_REQUESTS`` is set."""
    for alias in settings.DATABASES:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view
