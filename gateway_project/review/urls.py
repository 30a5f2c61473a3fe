"""The operators' REST API. In a project: ``path("api/", include("gateway_project.review.urls"))``.

Without Django REST framework there are none, and a system check says so.
"""

from importlib.util import find_spec
from typing import Any

HAS_API = find_spec("rest_framework") is not None

if HAS_API:
    from gateway_project.review.api.routes import urlpatterns
else:
    urlpatterns: list[Any] = []  # type: ignore[no-redef]  # the other branch
