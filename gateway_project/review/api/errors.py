"""Refusals, in the form that the endpoints have too: ``{"error": {"message", "type", "param", "code"}}``."""

from typing import Any

from django.db import InterfaceError, OperationalError
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler


class BodyTooLarge(APIException):
    """No operation needs so much."""

    status_code = 413
    default_detail = "The body is too large."
    default_code = "request_too_large"


class DatabaseUnavailable(APIException):
    """The runs cannot be looked up now."""

    status_code = 503
    default_detail = "The database does not answer. Please try again later."
    default_code = "database_unavailable"
    wait = 1  # DRF makes it the header Retry-After, in seconds.


class LookNotRecorded(APIException):
    """What nobody may see without leaving a trace cannot be shown now."""

    status_code = 503
    default_detail = "It cannot be recorded now that you look at this. Please try again later."
    default_code = "look_not_recorded"
    wait = 1


def refuse(error: Exception, context: dict[str, Any]) -> Response | None:
    """What DRF makes of `error`, in our form. None for what is no refusal but a fault."""
    if isinstance(error, InterfaceError | OperationalError):
        error = DatabaseUnavailable()
    response: Response | None = exception_handler(error, context)
    if response is None:
        return None
    message, param = _first(error.detail) if isinstance(error, ValidationError) else (_text(error, response), None)
    code = error.default_code if isinstance(error, APIException) else None
    kind = "server_error" if response.status_code >= 500 else "invalid_request_error"
    response.data = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return response


def _text(error: Exception, response: Response) -> str:
    """DRF makes its own exceptions of Django's, and keeps their text to itself."""
    return str(response.data["detail"] if isinstance(response.data, dict) else error)


def _first(detail: Any, param: str | None = None) -> tuple[str, str | None]:
    """The first thing that is wrong, and the field it is about."""
    if isinstance(detail, dict):
        field, inner = next(iter(detail.items()))
        name = None if field == "non_field_errors" else str(field)
        return _first(inner, param or name)
    if isinstance(detail, list):
        return _first(detail[0], param)
    return str(detail), param
