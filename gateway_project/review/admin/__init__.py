"""The gateway in Django's admin. Importing it registers its classes: that is what autodiscovery does."""

from gateway_project.review.admin.accesses import AccessRecordAdmin
from gateway_project.review.admin.alerts import RunAlertAdmin
from gateway_project.review.admin.holds import LegalHoldAdmin
from gateway_project.review.admin.overview import OverviewAdmin
from gateway_project.review.admin.runs import RunAdmin
from gateway_project.review.admin.verifications import VerificationAdmin

__all__ = ["AccessRecordAdmin", "LegalHoldAdmin", "OverviewAdmin", "RunAdmin", "RunAlertAdmin", "VerificationAdmin"]
