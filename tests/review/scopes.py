"""A shop's own rule of whose runs may be seen, for tests."""

from django.db.models import QuerySet
from django.http import HttpRequest

from gateway_project.runs.models import Run


def of_the_shop(request: HttpRequest, runs: "QuerySet[Run]") -> "QuerySet[Run]":
    """Superusers see all, everybody else the runs of the principal `shop`."""
    user = request.user
    return runs if user.is_superuser else runs.filter(principal_label="shop")
