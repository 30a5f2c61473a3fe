"""How a part of content says what it holds, in both protocols."""

from gateway_project.transport.errors import InvalidValue, MissingParameter, UnsupportedParameter


def only_source(where: str, *, file_id: str | None, **given: str | None) -> tuple[str, str]:
    """The one source that a part names, with the place of it.

    Args:
        where: the part's place.
        given: the part's fields that may hold a source, by their names.

    Raises:
        UnsupportedParameter: for a `file_id`, since nothing is uploaded here.
        MissingParameter: when there is no source.
        InvalidValue: when there is more than one.
    """
    if file_id is not None:
        raise UnsupportedParameter("Uploaded files are not supported here.", param=f"{where}.file_id")
    found = [(name, source) for name, source in given.items() if source is not None]
    if not found:
        raise MissingParameter(f"{where}.{next(iter(given))}")
    if len(found) > 1:
        raise InvalidValue("Only one of these may be given: " + ", ".join(given) + ".", param=f"{where}.{found[1][0]}")
    name, source = found[0]
    return f"{where}.{name}", source
