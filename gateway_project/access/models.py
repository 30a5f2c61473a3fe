"""API keys: made once, shown once, stored as a hash."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Self

from django.db import models, router, transaction
from django.utils.translation import gettext_lazy as _

from gateway_project import clock
from gateway_project.content_modes import ContentMode

_SCHEME = "gw"
_PREFIX_BYTES = 6
_SECRET_BYTES = 32
_PREFIX = re.compile(rf"[0-9a-f]{{{2 * _PREFIX_BYTES}}}")

NOTE_USE_EVERY = timedelta(minutes=1)
"""How exact ``last_used_at`` is."""


def hash_secret(secret: str) -> str:
    """SHA-512 of a secret. It has 256 random bits, so neither salt nor a slow hash adds anything."""
    return hashlib.sha512(secret.encode()).hexdigest()


def key_prefix(text: str) -> str | None:
    """The prefix that names the row of a key's text; None when `text` cannot be a key."""
    scheme, _, rest = text.partition("-")
    prefix, _, secret = rest.partition("-")
    return prefix if scheme == _SCHEME and _PREFIX.fullmatch(prefix) and secret else None


class APIKeyQuerySet(models.QuerySet["APIKey"]):
    """Questions about keys."""

    def usable(self, at: datetime | None = None) -> Self:
        """Neither revoked nor expired."""
        at = at or clock.now()
        return self.filter(revoked_at__isnull=True).exclude(expires_at__lte=at)


class APIKeyManager(models.Manager.from_queryset(APIKeyQuerySet)):  # type: ignore[misc]  # made by Django at run time
    """Makes keys and finds the one that a client shows."""

    def create_key(
        self,
        name: str,
        *,
        agents: list[str] | None = None,
        expires_at: datetime | None = None,
        operate: bool = False,
        content: str = "",
    ) -> tuple["APIKey", str]:
        """Make a key. Returns it and its text, which is stored nowhere: ``gw-<prefix>-<secret>``."""
        prefix = secrets.token_hex(_PREFIX_BYTES)
        text = f"{_SCHEME}-{prefix}-{secrets.token_urlsafe(_SECRET_BYTES)}"
        key = self.create(
            name=name,
            prefix=prefix,
            hash=hash_secret(text),
            agents=agents or [],
            expires_at=expires_at,
            operate=operate,
            content=content,
        )
        return key, text

    def find(self, text: str) -> "APIKey | None":
        """The usable key that `text` is, or None. Compares in constant time."""
        prefix = key_prefix(text)
        if prefix is None:
            return None
        key: APIKey | None = self.get_queryset().usable().filter(prefix=prefix).first()
        return key if key is not None and key.has_hash(hash_secret(text)) else None

    def touch(self, keys: Collection[int], at: datetime) -> None:
        """Note that these keys were used, unless that was noted in the last minute or somebody holds their row."""
        using = router.db_for_write(self.model)
        known = self.using(using).filter(pk__in=keys)
        due = known.filter(models.Q(last_used_at=None) | models.Q(last_used_at__lte=at - NOTE_USE_EVERY))
        with transaction.atomic(using=using):
            known.filter(pk__in=due.select_for_update(skip_locked=True).values("pk")).update(last_used_at=at)


class APIKey(models.Model):
    """A client's key. What it may use is a list of agents; an empty list means all."""

    name = models.CharField(_("name"), max_length=100, help_text=_("Whose key it is, as the auditor shall read it."))
    prefix = models.CharField(_("prefix"), max_length=16, unique=True, editable=False)
    hash = models.CharField(_("hash"), max_length=128, editable=False)
    agents = models.JSONField(
        _("agents"), default=list, blank=True, help_text=_("Names of the agents it may use; none chosen means all.")
    )
    operate = models.BooleanField(
        _("may operate"),
        default=False,
        help_text=_("It may look at and cancel everybody's runs, through the API."),
    )
    content = models.CharField(
        _("content"),
        max_length=8,
        blank=True,
        choices=ContentMode.choices,
        help_text=_(
            "How much is kept of what it asks and is answered; empty: as its agent or the settings say. "
            "Where its agent says something too, the stricter holds."
        ),
    )
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)

    objects = APIKeyManager()

    class Meta:
        db_table = "gateway_api_key"
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ("name", "id")

    def __str__(self) -> str:
        return f"{self.name} ({_SCHEME}-{self.prefix}…)"

    @property
    def use_is_due(self) -> bool:
        """Whether its use should be noted (again)."""
        return self.last_used_at is None or self.last_used_at <= clock.now() - NOTE_USE_EVERY

    def has_hash(self, digest: str) -> bool:
        """Whether `digest` is the key's own. Compares in constant time."""
        return hmac.compare_digest(self.hash, digest)

    @property
    def is_usable(self) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > clock.now())
