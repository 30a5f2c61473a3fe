"""What the API takes and gives, as DRF's serializers: they check what comes in, and describe what goes out."""

import types
from datetime import datetime
from functools import cache
from typing import Any, get_args, get_type_hints, is_typeddict

from django.core.exceptions import FieldDoesNotExist
from rest_framework import serializers

from gateway_project import clock
from gateway_project.review.paging import Position
from gateway_project.review.questions import QUESTIONS, SEARCHED, Choice
from gateway_project.runs.models import Run
from gateway_project.runs.sql import text_limits

MOST_LISTED = 200


@cache
def shape_of(typed: Any) -> type["serializers.Serializer[Any]"]:
    """The serializer that describes a TypedDict. Its words are those of the run's columns, where it has such."""
    fields = {key: _field(key, hint) for key, hint in get_type_hints(typed).items()}
    name = typed.__name__.removesuffix("Dict")
    return type(name, (serializers.Serializer,), fields | {"__doc__": typed.__doc__, "__module__": __name__})


def _field(key: str, hint: Any) -> "serializers.Field[Any, Any, Any, Any]":
    options = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    null: dict[str, Any] = {"allow_null": types.NoneType in options}
    kind = options[0]
    if is_typeddict(kind):
        return shape_of(kind)(**null)
    if get_args(kind):
        [inner] = get_args(kind)[-1:]
        if is_typeddict(inner):
            return shape_of(inner)(many=True, **null)
        return (
            serializers.DictField(**null) if len(get_args(kind)) > 1 else serializers.ListField(child=_FIELDS[inner]())
        )
    if kind is str and key.endswith(("_at", "at")):
        return serializers.DateTimeField(**null)
    choices = _choices(key)
    if kind is str and choices:
        return serializers.ChoiceField(choices=choices, **null)
    plain: serializers.Field[Any, Any, Any, Any] = _FIELDS[kind](**null)
    return plain


_FIELDS: dict[Any, Any] = {
    str: serializers.CharField,
    int: serializers.IntegerField,
    float: serializers.FloatField,
    bool: serializers.BooleanField,
}


def _choices(key: str) -> list[Choice]:
    try:
        column: Any = Run._meta.get_field(key)
    except FieldDoesNotExist:
        return []
    return list(getattr(column, "choices", None) or ())  # What points at runs has none.


class TextField(serializers.CharField):
    """Text, and nothing that could be made text."""

    def to_internal_value(self, data: Any) -> str:
        """Refuse numbers."""
        if not isinstance(data, str):
            self.fail("invalid")
        text: str = super().to_internal_value(data)
        return text


class FlagField(serializers.BooleanField):
    """True or false, and nothing that could mean it."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse words and numbers."""
        return data if isinstance(data, bool) else self.fail("invalid", input=data)


class MomentField(serializers.DateTimeField):
    """A date or time in ISO 8601; without an offset it is UTC."""

    def __init__(self, *, end_of_day: bool = False, **kwargs: Any) -> None:
        self.end_of_day = end_of_day
        super().__init__(**kwargs)

    def to_internal_value(self, value: Any) -> datetime:
        """Read it as the commands do."""
        try:
            if not isinstance(value, str):
                raise ValueError
            return clock.parse_moment(value, end_of_day=self.end_of_day)
        except ValueError:
            raise serializers.ValidationError("This is no date or time in ISO 8601.") from None


class CursorField(serializers.CharField):
    """Where a page begins."""

    def to_internal_value(self, data: Any) -> Any:
        """The position."""
        try:
            return Position.parse(super().to_internal_value(data))
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None


class RunFilters(serializers.Serializer[Any]):
    """The questions of the admin's list."""

    since = MomentField(required=False, help_text="Received at that time or later; without an offset it is UTC.")
    until = MomentField(
        required=False, end_of_day=True, help_text="Received at that time or earlier; a date alone includes the day."
    )
    q = serializers.CharField(
        required=False,
        max_length=600,
        help_text=f"{SEARCHED[0].upper()}{SEARCHED[1:]}.",
    )

    def get_fields(self) -> dict[str, Any]:
        """A parameter for each question."""
        asked = {
            name: serializers.ChoiceField(choices=list(question.choices()), required=False)
            if question.closed
            else serializers.CharField(required=False, max_length=200)
            for name, question in QUESTIONS.items()
        }
        return asked | super().get_fields()


class RunListQuery(RunFilters):
    """A page of the list."""

    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=MOST_LISTED)
    cursor = CursorField(required=False, help_text="From `next` of the page before.")


class ExportQuery(RunFilters):
    """An export."""

    format = serializers.ChoiceField(choices=["jsonl", "csv"], default="jsonl", required=False)


class Reason(serializers.Serializer[Any]):
    """Why."""

    reason = TextField(
        required=False,
        default="",
        allow_blank=True,
        max_length=text_limits(Run)["abort_reason"],
        help_text="It stays in the record.",
    )


class ErrorBody(serializers.Serializer[Any]):
    """What is wrong."""

    message = serializers.CharField()
    type = serializers.CharField()
    param = serializers.CharField(allow_null=True)
    code = serializers.CharField(allow_null=True)


class Refusal(serializers.Serializer[Any]):
    """Every refusal."""

    error = ErrorBody()
