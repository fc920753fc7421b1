"""The picture of ``slipway compare`` as shapes: size against loss, and against divergence. Pure.

Drawn by ``_picture_html`` and ``_picture_png``; coordinates are pixels from the upper left corner.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from slipway.cli._levels import Level

WIDTH, HEIGHT = 880, 680
LEFT, RIGHT = 84, 850
PANELS = ((92, 350), (420, 610))
"""Upper and lower end of the two panels: loss, divergence."""
FONT = 13
LETTER = 8.4
"""Width of a letter at ``FONT``, about: labels are kept apart by it."""
RADIUS = 6
BAND_WIDTH = 26
THIN = 3
"""Height of a band of which one figure is published, instead of two ends."""
TICKS = 6
MB, GB = 1e6, 1e9
ROOM = 1.14
"""What an axis reaches beyond its largest value."""


Box = tuple[float, float, float, float]
SIDE = RADIUS + 9
AROUND = (
    (SIDE, 4, "start"), (-SIDE, 4, "end"), (0, -SIDE, "middle"), (0, SIDE + 10, "middle"),
    *((dx, dy, anchor) for dy in (-24, 32, -40, 48)
      for dx, anchor in ((SIDE, "start"), (-SIDE, "end"), (0, "middle"))),
)  # fmt: skip
"""Where a name may stand from its point: right, left, above, below; then further away."""


@dataclass(frozen=True)
class Shape:
    """One thing to draw.

    Attributes:
        kind: ``line``, ``band``, ``point`` or ``text``.
        role: what it is, for its colour: ``grid``, ``axis``, ``band``, ``level``, ``served``, ``base``,
            ``title``, ``label``, ``note`` or ``tick``.
        at: ``line`` both ends, ``band`` corner and size, ``point`` and ``text`` where.
        text: of a ``text``, and the hint of a ``point``.
        anchor: of a ``text``: ``start``, ``middle`` or ``end``.
        turned: a ``text`` is read from below.
    """

    kind: str
    role: str
    at: tuple[float, ...]
    text: str = ""
    anchor: str = "start"
    turned: bool = False


@dataclass(frozen=True)
class Axis:
    """From values to pixels.

    Attributes:
        low: value at the first pixel; the axis ends at ``high``.
        start: pixel of ``low``.
        end: pixel of ``high``.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round values inside, at most ``TICKS`` + 2."""
        step = _round_step((self.high - self.low) / TICKS)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def build(name: str, levels: Sequence[Level]) -> list[Shape]:
    """The shapes of the picture; levels without size or loss are left out."""
    shown = [one for one in levels if one.size and (one.unquantised or one.loss is not None)]
    shapes = [
        Shape("text", "title", (LEFT, 34), f"{name}: what each level costs and keeps"),
        Shape("text", "note", (LEFT, 58), _legend(shown)),
    ]
    if not shown:
        return [*shapes, Shape("text", "label", (LEFT, 120), "no level was measured yet")]
    unit, name_of_unit = _unit(max(one.size or 0 for one in shown))
    x = Axis(0, ROOM * max((one.size or 0) / unit for one in shown), LEFT, RIGHT)
    shapes += _panel(shown, x, unit, PANELS[0], "loss in perplexity, %", _loss)
    shapes += _panel(shown, x, unit, PANELS[1], "KL divergence, nats", lambda one: one.kld)
    bottom = PANELS[1][1]
    shapes.append(
        Shape("text", "label", ((LEFT + RIGHT) / 2, bottom + 48), f"size, {name_of_unit}", "middle")
    )
    return shapes


def _legend(shown: Sequence[Level]) -> str:
    parts = ["filled: served", "hollow: compared"] if any(one.served for one in shown) else []
    parts += ["grey: unquantised"] if any(one.unquantised for one in shown) else []
    parts += ["shaded: published loss of such a level"] if any(one.ends for one in shown) else []
    return ", ".join(parts)


def _loss(one: Level) -> float | None:
    return 0.0 if one.unquantised else one.loss


def _panel(
    shown: Sequence[Level],
    x: Axis,
    unit: float,
    place: tuple[int, int],
    title: str,
    value: Callable[[Level], float | None],
) -> list[Shape]:
    """A panel with its grid, bands (of the loss), points and labels."""
    top, bottom = place
    bands = value is _loss
    values = [found for one in shown if (found := value(one)) is not None]
    ends = [end for one in shown if bands and one.ends for end in one.ends]
    low, high = min([0.0, *values]), max([0.0, *values, *ends])
    if high <= low:
        return [Shape("text", "note", (LEFT, (top + bottom) / 2), f"{title}: not measured")]
    y = Axis(ROOM * low, ROOM * high, bottom, top)
    shapes = list(_grid(x, y, top, bottom))
    shapes.append(Shape("text", "label", (26, (top + bottom) / 2), title, "middle", turned=True))
    points = []
    for one in shown:
        found = value(one)
        if found is None:
            continue
        where = (x.at((one.size or 0) / unit), y.at(found))
        if bands and one.ends:
            shapes.append(_band(where[0], y, one.ends))
        points.append((one, where, found))
    shapes += [_point(one, where, title, found) for one, where, found in points]
    return [*shapes, *_labels([(one.name, where) for one, where, _ in points], top, bottom)]


def _grid(x: Axis, y: Axis, top: int, bottom: int) -> Iterator[Shape]:
    for tick in y.ticks:
        yield Shape("line", "axis" if tick == 0 else "grid", (LEFT, y.at(tick), RIGHT, y.at(tick)))
        yield Shape("text", "tick", (LEFT - 8, y.at(tick) + 4), f"{tick:g}", "end")
    for tick in x.ticks:
        yield Shape("line", "axis" if tick == 0 else "grid", (x.at(tick), top, x.at(tick), bottom))
        yield Shape("text", "tick", (x.at(tick), bottom + 20), f"{tick:g}", "middle")


def _band(x: float, y: Axis, ends: tuple[float, float]) -> Shape:
    upper, lower = y.at(ends[1]), y.at(ends[0])
    if lower - upper < THIN:
        upper, lower = upper - THIN / 2, upper + THIN / 2
    return Shape("band", "band", (x - BAND_WIDTH / 2, upper, BAND_WIDTH, lower - upper))


def _point(one: Level, where: tuple[float, float], title: str, found: float) -> Shape:
    role = "served" if one.served else "base" if one.unquantised else "level"
    hint = f"{one.name}: {(one.size or 0) / 1e6:.0f} MB, {title} {found:g}"
    return Shape("point", role, where, hint)


def _labels(points: Sequence[tuple[str, tuple[float, float]]], top: int, bottom: int) -> list[Shape]:
    """A name beside each point, where it covers no other name and no point."""
    taken = [(px - RADIUS, py - RADIUS, px + RADIUS, py + RADIUS) for _, (px, py) in points]
    found = []
    for name, (px, py) in points:
        width = LETTER * len(name)
        places = [_place(px + dx, py + dy, width, anchor) for dx, dy, anchor in AROUND]
        inside = [one for one in places if _inside(one[1], top, bottom)]
        free = [one for one in inside if not any(_overlap(one[1], other) for other in taken)]
        (at, box, anchor) = (free or inside or places)[0]
        taken.append(box)
        found.append(Shape("text", "label", at, name, anchor))
    return found


def _place(x: float, base: float, width: float, anchor: str) -> tuple[tuple[float, float], Box, str]:
    """Where a name is written, and what it covers."""
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    return (x, base), (left, base - FONT + 2, left + width, base + 3), anchor


def _inside(box: Box, top: int, bottom: int) -> bool:
    return box[0] > LEFT and box[2] < RIGHT and box[1] > top and box[3] < bottom


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _round_step(rough: float) -> float:
    """1, 2, 2.5 or 5 times a power of ten, at least the given one."""
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _unit(largest: int) -> tuple[float, str]:
    return (GB, "GB") if largest >= GB else (MB, "MB")
