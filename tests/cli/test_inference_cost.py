"""Parameters and arithmetic of a method, the captioner's included."""

import pytest
from rich.console import Console

from tadp_backbone import DiffusionBackbone
from tadp_captioning.flops import captioner_costs
from tadp_cli.config.paper_tables import load_table
from tadp_cli.config.recipe import load_recipe
from tadp_cli.console.metric_tables import show_costs
from tadp_cli.pipelines.inference_cost import costs_of


def test_the_tiny_models_are_counted_as_they_are():
    costs = costs_of(load_recipe("table-2-miniature/tadp-40"))
    backbone = DiffusionBackbone.from_pretrained("tiny")
    assert costs.parameters["unet"] == sum(p.numel() for p in backbone.unet.parameters())
    assert set(costs.multiply_adds) == {"unet", "vae", "head", "text_encoder", "captioner"}
    plain = costs_of(load_recipe("table-2-miniature/vpd"))
    assert set(plain.multiply_adds) == {"unet", "vae", "head"}, "one embedding for all images"
    assert plain.total("unet") == (costs.parameters["unet"], pytest.approx(costs.multiply_adds["unet"], rel=0.1))
    with pytest.raises(ValueError, match="detection depends on the regions found"):
        costs_of(load_recipe("scenes-detection"))


@pytest.mark.slow
def test_blip2_at_full_size_has_its_published_number_of_parameters():
    """3.7 billion; a longer caption takes a pass of the language model per token."""
    short, long = captioner_costs("blip2", 10), captioner_costs("blip2", 40)
    assert short.parameters == long.parameters == pytest.approx(3.745e9, rel=1e-3)
    per_token = (long.multiply_adds - short.multiply_adds) / 30
    assert per_token == pytest.approx(2.65e9, rel=0.05), "a multiply-add per weight of OPT-2.7B"
    with pytest.raises(ValueError, match="the costs of the captioner 'florence2-base' are not known"):
        captioner_costs("florence2-base", 10)


@pytest.mark.slow
def test_table_2_has_the_columns_of_the_paper(capsys):
    show_costs(Console(width=200), load_table("table-2"), "full", ["vpd", "tadp-40"])
    lines = {
        line.split("│")[1].strip(): line.replace("│", " ").split()
        for line in capsys.readouterr().out.splitlines()
        if "│" in line
    }
    assert lines["EVA (reported)"][-1] == "1010"
    paper, own, whole, paper_flops, flops, all_flops = map(float, lines["TADP-40"][-6:])
    assert (paper, paper_flops) == (862, 2168)
    assert own == pytest.approx(paper, rel=0.01)
    assert whole > own + 3700
    assert all_flops > flops + 400
    assert float(lines["VPD(R)"][-2]) == pytest.approx(891, rel=0.1), "the paper counts a multiply-add as one"
