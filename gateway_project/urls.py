"""Django's part: the admin, the operators' API and the probes."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from gateway_project.observe.health import healthz, readyz
from gateway_project.observe.metrics import metrics

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/", include("gateway_project.review.urls")),
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", metrics),
]

handler400 = "gateway_project.transport.nowhere.bad_request"
handler404 = "gateway_project.transport.nowhere.page_not_found"
