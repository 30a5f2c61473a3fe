"""The Django app that holds the API keys."""

from django.apps import AppConfig


class AccessConfig(AppConfig):
    """API keys, label ``gateway_access``."""

    name = __name__.rpartition(".")[0]
    label = "gateway_access"
    verbose_name = "Agent gateway access"
    default_auto_field = "django.db.models.BigAutoField"
