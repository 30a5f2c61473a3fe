"""Charts as rectangles in a box of fixed size; a template draws them as inline SVG, a stylesheet colours them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

WIDTH = 1000
HEIGHT = 200
_LEAST = 2
_GAP = 0.15


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle: what it stands for, and where it is."""

    kind: str
    title: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """All rectangles, and the value of the highest."""

    bars: Sequence[Bar]
    top: int


def stacked(columns: Sequence[tuple[str, Mapping[str, int]]], labels: Mapping[str, str]) -> Chart:
    """A column each, its parts upon each other in the order of `labels`. What is not zero can be seen."""
    top = max((sum(parts.values()) for _, parts in columns), default=0)
    if not top:
        return Chart((), 0)
    return Chart(list(_columns(columns, labels, top)), top)


def _columns(columns: Sequence[tuple[str, Mapping[str, int]]], labels: Mapping[str, str], top: int) -> Iterable[Bar]:
    pitch = WIDTH / len(columns)
    for index, (name, parts) in enumerate(columns):
        bottom = float(HEIGHT)
        for kind, label in labels.items():
            count = parts.get(kind, 0)
            if not count:
                continue
            height = max(_LEAST, HEIGHT * count / top)
            x, width = (index + _GAP / 2) * pitch, (1 - _GAP) * pitch
            bottom = max(0.0, bottom - height)
            yield Bar(
                kind, f"{name}: {count:,} {label.lower()}", round(x, 2), round(bottom, 2), round(width, 2), height
            )
