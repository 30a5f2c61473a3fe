"""The Django app that holds the run records."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RunsConfig(AppConfig):
    """Run records, label ``gateway_runs``."""

    name = __name__.rpartition(".")[0]
    label = "gateway_runs"
    verbose_name = "Agent gateway"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Keep what is final append-only, know what may wait in a spill file, and let go with runs what is theirs."""
        import gateway_project.runs.content.record  # noqa: F401 (registers)
        from gateway_project.runs.alerts.outbox import Alerts
        from gateway_project.runs.content.removal import Contents
        from gateway_project.runs.labels import Labels
        from gateway_project.runs.retention.belongings import register_belongings
        from gateway_project.runs.seals.triggers import install_after_migrate

        post_migrate.connect(install_after_migrate, sender=self)
        register_belongings(Alerts())
        register_belongings(Contents())
        register_belongings(Labels())
