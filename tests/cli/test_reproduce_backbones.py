"""The table of backbones: its rows run at small scale, with costs, and are planned at full scale without weights."""

import json

import pytest
from invoking import tadp

from tadp_backbone.vision.table import is_vision
from tadp_cli.config.paper_tables import load_table
from tadp_cli.config.recipe import load_recipe

SMALL = ("--seeds", "1", "--train-images", "3", "--scored-images", "2", "--steps", "1", "--device", "cpu")


def test_rows_at_small_scale_are_listed_with_what_their_backbone_costs(tmp_path):
    rows = ("random-dinov3-linear", "random-clip-fpn-oracle")
    chosen = [part for row in rows for part in ("--row", row)]
    output = tadp("reproduce", "backbones", *chosen, *SMALL, "--out", tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert [row["row"] for row in results["rows"]] == list(rows)
    assert all(0 <= row["metrics"]["mIoU"] <= 1 for row in results["rows"])
    assert "mIoU (fog)" not in results["rows"][0]["metrics"]
    for row in rows:
        costs = results["costs"][row]
        assert costs["parameters"] > 0
        assert costs["gflops"] > 0
        assert costs["milliseconds"] > 0
        assert (costs["licence"], costs["gated"]) == ("none: weights drawn at random", False)
    assert "licence" in output
    assert "CLIP, FPN, oracle │" in output, "a row's label is on one line of a narrow terminal"
    assert " 0.0 " not in output, "costs of a small backbone are not rounded to nothing"


@pytest.mark.parametrize("row", ["acdc-dinov3-vitl16-fpn", "acdc-siglip2-linear-oracle", "watercolor2k-dinov2-vitl14"])
def test_a_row_at_full_scale_is_planned_without_weights(row):
    output = tadp("reproduce", "backbones", "--scale", "full", "--row", row, "--dry-run")
    assert row in output
    assert "GB" in output


def test_rows_of_vision_transformers_are_recipes_with_known_sources():
    table = load_table("backbones")
    sources = {
        load_recipe(table.recipe_name(row, "full")).backbone.source for row in table.rows if "full" in row.scales
    }
    assert {"sd15", "dinov3-vitl16", "siglip2-large-patch16-512"} <= sources
    assert all(source == "sd15" or is_vision(source) for source in sources)
