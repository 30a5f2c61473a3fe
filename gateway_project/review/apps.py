"""The Django app of the auditor's and operator's views. A shop may leave it out."""

from django.apps import AppConfig


class ReviewConfig(AppConfig):
    """Admin and commands, label ``gateway_review``."""

    name = __name__.rpartition(".")[0]
    label = "gateway_review"
    verbose_name = "Agent gateway review"
