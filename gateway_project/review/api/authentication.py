"""Our own API keys, for those of them that may operate."""

from collections.abc import Iterable
from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from gateway_project import clock
from gateway_project.access.models import APIKey
from gateway_project.conf import gateway_settings


class Operator:
    """Whom a key stands for: enough of Django's user to be asked for permissions. It is in no table.

    Its `pk` is no user's: throttles count by it, so each key needs one of its own.
    """

    is_authenticated = True
    is_active = True
    is_anonymous = False
    is_staff = False
    is_superuser = False

    def __init__(self, key: APIKey) -> None:
        self.key = key
        self.pk = f"api_key:{key.pk}"

    def __str__(self) -> str:
        return self.get_username()

    def get_username(self) -> str:
        """As the auditor shall read it."""
        return f"API key {self.key.name}"

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Whether keys have this permission: ``GATEWAY["API"]["KEY_PERMISSIONS"]``."""
        return perm in gateway_settings().API.KEY_PERMISSIONS

    def has_perms(self, perms: Iterable[str], obj: object = None) -> bool:
        """Whether keys have all of them."""
        return all(self.has_perm(perm) for perm in perms)


class OperatorKeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer gw-…``. Asks the database each time, so that a revocation counts at once."""

    def authenticate(self, request: Request) -> tuple[Any, APIKey] | None:
        """The key's operator, or None when the request bears no key.

        Raises:
            AuthenticationFailed: for an unknown, expired or revoked key.
            PermissionDenied: for one that is good for agents only.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = APIKey.objects.find(token.strip())
        if key is None:
            raise AuthenticationFailed("Incorrect API key provided.")
        if not key.operate:
            raise PermissionDenied("This key may not operate.")
        if key.use_is_due:
            APIKey.objects.touch([key.pk], clock.now())
        return Operator(key), key

    def authenticate_header(self, request: Request) -> str:
        """So that who comes without a key is answered 401 (RFC 6750, section 3)."""
        return "Bearer"
