"""The Django app of the auditor's and operator's views. A shop may leave it out."""

from django.apps import AppConfig


class ReviewConfig(AppConfig):
    """Admin, figures and commands, label ``gateway_review``."""

    name = __name__.rpartition(".")[0]
    label = "gateway_review"
    verbose_name = "Agent gateway review"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, and let who looked at a run go with it."""
        from gateway_project.review import checks  # noqa: F401 (registers)
        from gateway_project.review.access import AccessRecords
        from gateway_project.runs.retention.belongings import register_belongings

        register_belongings(AccessRecords())
