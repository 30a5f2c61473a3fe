"""The operators' API as an OpenAPI document, from what its views say of themselves. Written by ``tests.docs``."""

import json
from typing import Any

from django.urls import include, path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse, PolymorphicProxySerializer

from gateway_project.review.api.routes import urlpatterns
from gateway_project.review.api.views import Operation

_WORDS = {
    200: "As asked.",
    201: "Made.",
    202: "The wish is written.",
    400: "The request is wrong; `param` says where.",
    401: "No key, or not a usable one.",
    403: "Not permitted.",
    404: "There is none, or none that you may know of.",
    409: "It had ended already, or there was nothing to lift.",
    413: "The body is too large.",
    503: "It cannot be recorded now that you look at this.",
}
_INFO = {
    "title": "Agent gateway: the operators' API",
    "version": "1",
    "description": "Look at runs, cancel, hold and export them; make and revoke API keys; see what the agents do.",
}


class OperationSchema(AutoSchema):
    """Takes from the view's `operations` what drf-spectacular would else guess."""

    @property
    def _operation(self) -> Operation:
        operation: Operation = self.view.operations[self.method]
        return operation

    def get_operation_id(self) -> str:
        """``get_runs_export`` and the like."""
        return "_".join([self.method.lower(), *self.path.strip("/").replace("{", "").replace("}", "").split("/")[1:]])

    def get_tags(self) -> list[str]:
        """``runs``, ``keys``, ``agents``."""
        return [self.path.split("/")[2]]

    def get_auth(self) -> list[dict[str, list[str]]]:
        """A key or a session."""
        return [{"key": []}, {"session": []}]

    def get_override_parameters(self) -> list[Any]:
        """The query."""
        return [self._operation.query] if self._operation.query else []

    def get_request_serializer(self) -> Any:
        """The body."""
        return self._operation.body

    def get_response_serializers(self) -> Any:
        """The replies."""
        replies: dict[Any, Any] = {}
        for status, reply in self._operation.replies.items():
            shape: Any = reply
            if shape is None:
                for media_type in self._operation.media_types:
                    replies[status, media_type] = OpenApiResponse(str, _WORDS[status])
                continue
            if isinstance(shape, tuple):
                name = "Or".join(one.__name__ for one in shape)
                shape = PolymorphicProxySerializer(name, list(shape), resource_type_field_name=None)
            replies[status, "application/json"] = OpenApiResponse(shape, _WORDS[status])
        return replies


class Generator(SchemaGenerator):
    """Of our views alone, wherever a project puts them."""

    def create_view(self, callback: Any, method: str, request: Any = None) -> Any:
        """The view, with our way of describing it."""
        view = super().create_view(callback, method, request)
        view.schema = OperationSchema()
        return view


def openapi() -> dict[str, Any]:
    """The whole document."""
    schema: dict[str, Any] = Generator(patterns=[path("api/", include((urlpatterns, "api")))]).get_schema(public=True)
    schema["info"] = _INFO
    schema["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key that may operate."},
        "session": {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "Django's session."},
    }
    return schema


def text() -> str:
    """As it stands in the file."""
    return json.dumps(openapi(), indent=2, sort_keys=True, default=str) + "\n"
