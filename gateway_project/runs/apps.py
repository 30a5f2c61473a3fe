"""The Django app that holds the run records."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    """Run records, label ``gateway_runs``."""

    name = __name__.rpartition(".")[0]
    label = "gateway_runs"
    verbose_name = "Agent gateway"
    default_auto_field = "django.db.models.BigAutoField"
