"""Numbers of several runs as one."""

from collections.abc import Sequence


def with_spread(values: Sequence[float], *, scale: float = 100, decimals: int = 1) -> str:
    """Mean ± min-max/2, each times `scale`; of one value the value alone."""
    mean, half_range = sum(values) / len(values), (max(values) - min(values)) / 2
    spread = f" ± {scale * half_range:.{decimals}f}" if len(values) > 1 else ""
    return f"{scale * mean:.{decimals}f}{spread}"
