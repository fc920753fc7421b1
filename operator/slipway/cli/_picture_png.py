"""The picture of ``slipway compare`` as PNG, by matplotlib, which is imported here alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from slipway.cli import UsageError
from slipway.cli._chart import HEIGHT, RADIUS, WIDTH, Shape

DPI: Final = 200
POINTS: Final = 72 / 100
"""Points of a pixel: the figure has 100 pixels an inch, and is saved twice as fine."""
SIZES: Final[Mapping[str, float]] = MappingProxyType({"title": 18, "label": 13, "note": 13, "tick": 13})
LIGHT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "paper": "#ffffff", "title": "#1f2328", "label": "#1f2328", "note": "#59636e", "tick": "#59636e",
        "grid": "#e4e8ec", "axis": "#9aa4ae", "level": "#0969da", "served": "#bc4c00", "base": "#59636e",
        "band": "#1a7f37",
    }
)  # fmt: skip
DARK: Final[Mapping[str, str]] = MappingProxyType(
    {
        "paper": "#0d1117", "title": "#e6edf3", "label": "#e6edf3", "note": "#9198a1", "tick": "#9198a1",
        "grid": "#262c34", "axis": "#656d76", "level": "#58a6ff", "served": "#f0883e", "base": "#9198a1",
        "band": "#3fb950",
    }
)  # fmt: skip
SIDES: Final[Mapping[str, str]] = MappingProxyType({"start": "left", "middle": "center", "end": "right"})


def save(shapes: Sequence[Shape], path: Path, *, dark: bool) -> None:
    """Write the picture, 1760 x 1360 pixels.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "--plot FILE.png needs matplotlib: pip install 'slipway-operator[plot]', or draw a .html"
        ) from error
    colours = DARK if dark else LIGHT
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), facecolor=colours["paper"])
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(HEIGHT, 0)
    axes.axis("off")
    for order, one in enumerate(shapes):
        _draw(axes, one, colours, order)
    figure.savefig(path, dpi=DPI, facecolor=colours["paper"])


def _draw(axes: Any, one: Shape, colours: Mapping[str, str], order: int) -> None:
    from matplotlib.patches import Circle, FancyBboxPatch

    colour, at = colours[one.role], one.at
    if one.kind == "line":
        axes.plot(at[::2], at[1::2], color=colour, linewidth=POINTS, zorder=order)
    elif one.kind == "band":
        axes.add_patch(
            FancyBboxPatch(
                (at[0], at[1]), at[2], at[3], boxstyle="round,pad=0,rounding_size=1", linewidth=0,
                facecolor=colour, alpha=0.22, zorder=order,
            )
        )  # fmt: skip
    elif one.kind == "point":
        inside = colour if one.role == "served" else colours["paper"]
        circle = Circle(
            (at[0], at[1]), RADIUS, edgecolor=colour, facecolor=inside, linewidth=2 * POINTS, zorder=order
        )
        axes.add_patch(circle)
    else:
        axes.text(
            at[0], at[1], one.text, color=colour, fontsize=SIZES[one.role] * POINTS, ha=SIDES[one.anchor],
            va="baseline", rotation=90 if one.turned else 0, rotation_mode="anchor", zorder=order,
            fontweight="bold" if one.role == "title" else "normal",
        )  # fmt: skip
