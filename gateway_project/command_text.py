"""Texts that commands are given for columns are refused as in a form: SQLite would take them all, PostgreSQL raise."""

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db.models import Field, Model


def check_text(model: type[Model], column: str, text: str, *, given_as: str) -> str:
    """`text`, when that column takes it.

    Raises:
        CommandError: beginning with `given_as`; it names the column's limit.
    """
    field = model._meta.get_field(column)
    assert isinstance(field, Field)
    try:
        field.clean(text, None)
    except ValidationError as error:
        raise CommandError(f"{given_as}: {' '.join(error.messages)}") from None
    return text
