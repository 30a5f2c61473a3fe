"""The API's addresses."""

from django.urls import path

from gateway_project.review.api.agents import AgentList
from gateway_project.review.api.holds import RunHold
from gateway_project.review.api.keys import KeyList, KeyRevoke
from gateway_project.review.api.runs import RunCancel, RunContentDetail, RunDetail, RunExport, RunList
from gateway_project.review.api.seals import SealState

urlpatterns = [
    path("runs/", RunList.as_view(), name="gateway-runs"),
    path("runs/export", RunExport.as_view(), name="gateway-export-runs"),
    path("runs/<str:run_id>", RunDetail.as_view(), name="gateway-run"),
    path("runs/<str:run_id>/content", RunContentDetail.as_view(), name="gateway-run-content"),
    path("runs/<str:run_id>/cancel", RunCancel.as_view(), name="gateway-cancel-run"),
    path("runs/<str:run_id>/hold", RunHold.as_view(), name="gateway-hold-run"),
    path("keys/", KeyList.as_view(), name="gateway-keys"),
    path("keys/<int:key_id>/revoke", KeyRevoke.as_view(), name="gateway-revoke-key"),
    path("seals/", SealState.as_view(), name="gateway-seals"),
    path("agents/", AgentList.as_view(), name="gateway-agents"),
]
