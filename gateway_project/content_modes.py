"""How much is kept of what a run was asked and what it answered: the modes, and who decides among those who say one."""

from collections.abc import Iterable, Mapping

from django.db.models import TextChoices


class ContentMode(TextChoices):
    """How much is kept. In this order each keeps more than the one before it."""

    NONE = "none", "Nothing"
    DIGEST = "digest", "A digest"
    REDACTED = "redacted", "Redacted"
    FULL = "full", "In full"


_RANK: Mapping[str, int] = {mode.value: rank for rank, mode in enumerate(ContentMode)}


def mode_in_force(default: str, said: Iterable[str], asked: str = "") -> ContentMode:
    """The mode of one run.

    Args:
        default: the gateway's own, for where nobody else says one.
        said: by the run's agent and key; empty where they say nothing. The strictest of them holds.
        asked: by the request, which can only make it stricter.
    """
    spoken = [mode for mode in said if mode]
    decided = [min(spoken, key=_RANK.__getitem__) if spoken else default]
    if asked:
        decided.append(asked)
    return ContentMode(min(decided, key=_RANK.__getitem__))
