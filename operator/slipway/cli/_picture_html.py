"""The picture of ``slipway compare`` as one HTML page: inline SVG, no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from slipway.cli._chart import HEIGHT, RADIUS, WIDTH, Shape

STYLE = """\
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1f2328; --soft: #59636e; --grid: #e4e8ec;
  --axis: #9aa4ae; --level: #0969da; --served: #bc4c00; --base: #59636e; --band: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --soft: #9198a1;
  --grid: #262c34; --axis: #656d76; --level: #58a6ff; --served: #f0883e; --base: #9198a1; --band: #3fb950; } }
body { background: var(--paper); margin: 2rem; }
svg { display: block; margin: auto; width: 100%; max-width: 880px; height: auto;
  font: 13px system-ui, sans-serif; }
text { fill: var(--ink); } .title { font-size: 18px; font-weight: 600; } .tick, .note { fill: var(--soft); }
line { stroke-width: 1; } .grid { stroke: var(--grid); } .axis { stroke: var(--axis); }
rect.band { fill: var(--band); fill-opacity: .22; }
circle { stroke-width: 2; fill: var(--paper); } circle.level { stroke: var(--level); }
circle.served { stroke: var(--served); fill: var(--served); } circle.base { stroke: var(--base); }"""


def page(shapes: Sequence[Shape]) -> str:
    """The whole page; its title is the first text."""
    title = next((one.text for one in shapes if one.role == "title"), "")
    return f"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>
{STYLE}
</style>
{svg(shapes)}
</html>
"""


def svg(shapes: Sequence[Shape]) -> str:
    """The picture alone."""
    inner = "\n".join(_element(one) for one in shapes)
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n{inner}\n</svg>'


def _element(one: Shape) -> str:
    at = [f"{value:.1f}" for value in one.at]
    if one.kind == "line":
        return f'<line class="{one.role}" x1="{at[0]}" y1="{at[1]}" x2="{at[2]}" y2="{at[3]}"/>'
    if one.kind == "band":
        return f'<rect class="band" x="{at[0]}" y="{at[1]}" width="{at[2]}" height="{at[3]}" rx="2"/>'
    if one.kind == "point":
        hint = f"<title>{escape(one.text)}</title>"
        return f'<circle class="{one.role}" cx="{at[0]}" cy="{at[1]}" r="{RADIUS}">{hint}</circle>'
    turned = f' transform="rotate(-90 {at[0]} {at[1]})"' if one.turned else ""
    where = f'x="{at[0]}" y="{at[1]}" text-anchor="{one.anchor}"'
    return f'<text class="{one.role}" {where}{turned}>{escape(one.text)}</text>'
