"""What the system checks say of dotted paths in ``GATEWAY``: what is named is there, and is what is needed there."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from gateway_project.conf import did_you_mean, import_dotted


def check_paths(
    paths: Iterable[str], where: str, id_: str, *, needed: str, fits: Callable[[Any], bool] = callable
) -> Iterator[CheckMessage]:
    """An error for each path that names nothing, or nothing that fits.

    Args:
        where: the setting, as the message shall name it.
        needed: what is needed there, as in "is no {needed}".
    """
    for path in paths:
        try:
            found = import_dotted(path, where)
        except ImproperlyConfigured as error:
            yield Error(str(error), hint=_nearest_name(path), id=id_)
        else:
            if not fits(found):
                yield Error(f"{where}: {path!r} is no {needed}.", id=id_)


def is_class_of(base: type) -> Callable[[Any], bool]:
    """Whether something is `base` or a subclass of it."""
    return lambda found: isinstance(found, type) and issubclass(found, base)


def _nearest_name(path: str) -> str | None:
    """What may have been meant, if the module at least was found."""
    module_path, _, name = path.rpartition(".")
    module = sys.modules.get(module_path)
    if module is None:
        return None
    return did_you_mean(name, [word for word in vars(module) if not word.startswith("_")])
