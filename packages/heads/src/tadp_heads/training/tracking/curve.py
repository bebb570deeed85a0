"""A curve as SVG: small, sharp at any size, and drawn without a plotting library."""

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _BELOW = 640, 220, 84, 24
"""Of the drawing, and of what its left and lower edge leave to the numbers."""
_MOST = 200
"""Points of a line; of more, neighbours are averaged."""
_LINES = 4


def curve(name: str, points: Sequence[tuple[int, float]], steps: int) -> str:
    """(step, value) at least one, as a figure whose horizontal axis ends at `steps`."""
    shown = _averaged(points)
    low, high = min(value for _, value in shown), max(value for _, value in shown)
    if high == low:
        low, high = low - 0.5, high + 0.5
    width, height = _WIDTH - _LEFT - 8, _HEIGHT - _BELOW - 8

    def place(step: float, value: float) -> str:
        return f"{_LEFT + width * step / max(steps, 1):.1f},{8 + height * (high - value) / (high - low):.1f}"

    grid = []
    for index in range(_LINES + 1):
        value = low + (high - low) * index / _LINES
        across = place(0, value).partition(",")[2]
        grid.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{across}" y2="{across}"/>'
            f'<text x="{_LEFT - 6}" y="{float(across) + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    ends = (
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">0</text>'
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 6}" text-anchor="end">step {steps}</text>'
    )
    line = " ".join(place(*point) for point in shown)
    last = place(*shown[-1]).split(",")
    dot = f'<circle cx="{last[0]}" cy="{last[1]}" r="3" fill="#d55e00"/>'
    text = escape(name)
    return (
        f"<figure><figcaption>{text}: {shown[-1][1]:.4g}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text} over steps">'
        f'{"".join(grid)}{ends}<polyline class="line" points="{line}"/>{dot}</svg></figure>'
    )


def _averaged(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Means over neighbours, each at its last step; the last ones may be fewer."""
    size = -(-len(points) // _MOST)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]
