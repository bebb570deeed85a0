"""Sheets of panels: the legend of classes lies below everything else."""

import numpy as np
import pytest
from PIL import Image

from tadp_cli.report.heat_map_sheets import Panel, sheet_figure

CLASSES = {"tree": (0, 158, 115), "star": (213, 94, 0)}


def drawn(path, **how):
    panel = Panel("image", Image.new("RGB", (64, 48), (90, 90, 90)))
    sheet_figure(path, titles=["title"], rows=[[panel, panel]], **how)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize("foot", [(), ("how maps are pooled",)])
def test_the_legend_adds_its_height_and_moves_nothing_else(tmp_path, foot):
    plain = drawn(tmp_path / "plain.png", foot=foot)
    legend = drawn(tmp_path / "legend.png", foot=foot, classes=CLASSES)
    added = len(legend) - len(plain)
    assert 15 <= added <= 40
    for color in CLASSES.values():
        rows = np.nonzero((legend == color).all(-1).any(-1))[0]
        assert len(rows) > 5
        assert rows.min() >= len(plain)
    # Panels are at the same distance from the upper edge; a pixel's rounding aside.
    grey = [np.nonzero((shown == 90).all(-1).any(-1))[0] for shown in (plain, legend)]
    assert abs(grey[0].min() - grey[1].min()) <= 1
    assert abs(grey[0].max() - grey[1].max()) <= 1
