"""The gateway in Django's admin. Importing it registers its classes: that is what autodiscovery does."""

from gateway_project.review.admin.runs import RunAdmin

__all__ = ["RunAdmin"]
