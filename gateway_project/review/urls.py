"""The operators' REST API. In a project: ``path("api/", include("gateway_project.review.urls"))``."""

from django.urls import path

from gateway_project.review.api import cancel_run

urlpatterns = [path("runs/<str:run_id>/cancel", cancel_run, name="gateway-cancel-run")]
