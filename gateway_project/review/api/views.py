"""What all views of the API have in common. Each says what it takes and gives in `operations`."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.http.request import RawPostDataException
from django.http.response import HttpResponseBase
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from gateway_project.conf import gateway_settings, import_dotted
from gateway_project.review.api.errors import BodyTooLarge, refuse

Shape = type["Serializer[Any]"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a view: who may use it, what it takes, what it replies by status.

    Some need another permission `beside` the one. A reply has one shape, or one of several; None stands for a file of
    one of the `media_types`.
    """

    permission: str
    replies: Mapping[int, Shape | tuple[Shape, ...] | None]
    query: Shape | None = None
    body: Shape | None = None
    media_types: tuple[str, ...] = ()
    beside: str | None = None

    @property
    def permissions(self) -> tuple[str, ...]:
        """All that are needed."""
        return (self.permission,) if self.beside is None else (self.permission, self.beside)


class JSONOnly(BaseContentNegotiation):
    """JSON in, JSON out, whatever the headers say: in a hurry one forgets them."""

    def select_parser(self, request: Request, parsers: Any) -> BaseParser:
        """The only one."""
        parser: BaseParser = parsers[0]
        return parser

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """The only one."""
        return renderers[0], renderers[0].media_type


class OperatorView(APIView):
    """A view that takes nothing from the shop's DRF settings but what ``GATEWAY["API"]`` names."""

    operations: ClassVar[Mapping[str, Operation]]

    renderer_classes = (JSONRenderer,)
    parser_classes = (JSONParser,)
    content_negotiation_class = JSONOnly
    versioning_class = None
    metadata_class = None

    @property
    def operation(self) -> Operation | None:
        """That of the request's method; None when it is not allowed."""
        method = self.request.method or ""
        return self.operations.get("GET" if method == "HEAD" else method)

    def get_authenticators(self) -> list[Any]:
        """Those that the setting names, asked in order."""
        return _made(gateway_settings().API.AUTHENTICATION, "AUTHENTICATION")

    def get_permissions(self) -> list[Any]:
        """Those that the setting names; all must agree."""
        return _made(gateway_settings().API.PERMISSIONS, "PERMISSIONS")

    def get_throttles(self) -> list[Any]:
        """Those that the setting names."""
        return _made(gateway_settings().API.THROTTLES, "THROTTLES")

    def get_exception_handler(self) -> Callable[..., Any]:
        """Ours."""
        return refuse

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """No cache keeps what this API says."""
        reply: HttpResponseBase = super().finalize_response(request, response, *args, **kwargs)
        reply["Cache-Control"] = "no-store"
        return reply

    def query(self) -> dict[str, Any]:
        """The parameters of the address, as the operation wants them. A misspelt filter must not show everything.

        Raises:
            ValidationError: for a wrong value, and for a parameter that is none.
        """
        assert self.operation is not None
        _refuse_unknown(self.request.GET, self.operation.query, "parameter")
        for name, values in self.request.GET.lists():
            if len(values) > 1:
                raise ValidationError({name: ["It may be given once."]})
        return {} if self.operation.query is None else _valid(self.operation.query, self.request.GET.dict())

    def body(self) -> dict[str, Any]:
        """The body, as the operation wants it; an empty one is an empty object. A misspelt limit must not be none.

        Raises:
            ParseError: when it is no JSON.
            ValidationError: for wrong or missing fields, and for a field that is none.
            BodyTooLarge: beyond Django's ``DATA_UPLOAD_MAX_MEMORY_SIZE``.
        """
        assert self.operation is not None
        assert self.operation.body is not None
        try:
            raw = django_request(self.request).body
        except RequestDataTooBig:
            raise BodyTooLarge from None
        except RawPostDataException:  # A form in parts, in which a CSRF token was looked for.
            raise ParseError("The body must be a JSON object.") from None
        except (OSError, ValueError):  # The client has left, and Django closed the file under this thread.
            raise ParseError("The body could not be read.") from None
        try:
            given = json.loads(raw) if raw else {}
        except (ValueError, RecursionError):
            raise ParseError("The body must be a JSON object.") from None
        if isinstance(given, dict):
            _refuse_unknown(given, self.operation.body, "field")
        return _valid(self.operation.body, given)


def django_request(request: Request | HttpRequest) -> HttpRequest:
    """Django's own request, whose ``user`` is whoever DRF has found."""
    return request._request if isinstance(request, Request) else request


def _made(paths: tuple[str, ...], key: str) -> list[Any]:
    return [import_dotted(path, f"GATEWAY['API'][{key!r}]")() for path in paths]


def _refuse_unknown(given: Iterable[str], shape: Shape | None, thing: str) -> None:
    known = () if shape is None else shape().fields
    for name in given:
        if name not in known:
            raise ValidationError({name: [f"There is no such {thing}."]})


def _valid(shape: Shape, given: Any) -> dict[str, Any]:
    form = shape(data=given)
    form.is_valid(raise_exception=True)
    found: dict[str, Any] = form.validated_data
    return found
