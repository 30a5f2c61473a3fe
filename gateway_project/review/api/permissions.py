"""Django's model permissions, as each operation names them."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView


class HasModelPermission(BasePermission):
    """Whoever asks has the permissions that the operation names. A method without an operation is answered 405."""

    message = "You do not have the permission for this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Of the user, or of the key."""
        operation = view.operation  # type: ignore[attr-defined]  # an OperatorView
        if operation is None:
            return True
        user: Any = request.user  # None, where the shop's settings say so of those who are nobody
        return bool(user and user.is_authenticated and all(map(user.has_perm, operation.permissions)))
