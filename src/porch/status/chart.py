"""Lines over time as an SVG's paths, drawn by the server: nothing runs in the browser."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 160
Point = tuple[float, float]
_STEPS = (1, 1.5, 2, 3, 4, 5, 8)


@dataclass(frozen=True, slots=True)
class Chart:
    """Paths in a box of WIDTH by HEIGHT, those of points without neighbours in `dots`, the values of its
    scale from the top down, and where a limit lies."""

    paths: list[str]
    dots: list[str]
    scale: list[float]
    limit: float | None = None


def draw(lines: Sequence[Sequence[float | None]], limit: float | None = None) -> Chart:
    """Lines over the same slots; where a value is missing, a line has a gap.

    `limit` is drawn where the scale reaches that far.
    """
    highest = max((value for line in lines for value in line if value is not None), default=0.0)
    top = _ceiling(highest)
    placed = [_place(line, top) for line in lines]
    paths = [" ".join(_strokes(points)) for points in placed]
    dots = [" ".join(_dots(points)) for points in placed]
    at = HEIGHT - limit / top * HEIGHT if limit is not None and limit <= top else None
    return Chart(paths, dots, [top, top / 2, 0.0], at)


def _place(line: Sequence[float | None], top: float) -> list[Point | None]:
    return [
        None if value is None else (across(index, len(line)), HEIGHT - value / top * HEIGHT)
        for index, value in enumerate(line)
    ]


def _strokes(points: Sequence[Point | None]) -> Iterator[str]:
    """One stroke for each stretch of two points or more without a gap."""
    for (x, y), follows, goes_on in _drawn(points):
        if follows or goes_on:
            yield f"{'L' if follows else 'M'}{x:.1f} {y:.1f}"


def _dots(points: Sequence[Point | None]) -> Iterator[str]:
    """A stroke without length for each point that no line goes through: its round ends make it a dot."""
    for (x, y), follows, goes_on in _drawn(points):
        if not (follows or goes_on):
            yield f"M{x:.1f} {y:.1f}h0"


def _drawn(points: Sequence[Point | None]) -> Iterator[tuple[Point, bool, bool]]:
    """Each point that is there, with whether one stands right before it, and right behind."""
    for before, point, behind in zip([None, *points], points, [*points[1:], None], strict=False):
        if point is not None:
            yield point, before is not None, behind is not None


def across(index: int, count: int) -> float:
    """Where one of so many slots stands, from the left edge."""
    return WIDTH / 2 if count < 2 else index / (count - 1) * WIDTH


def _ceiling(value: float) -> float:
    """The next round number, so that a scale's marks can be read."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value > 0:
        power /= 10
    return next((step * power for step in _STEPS if step * power >= value), 10 * power)
