"""`tadp reproduce TABLE --scale full --dry-run`: rows resolve to the paper's data, prompts, captions and targets."""

from dataclasses import replace

import pytest
from invoking import tadp
from official_layouts import LAYOUTS, picture

from tadp_captioning import CaptionRecord, CaptionStore
from tadp_cli.config.paper_tables import load_table
from tadp_cli.config.recipe import load_recipe
from tadp_cli.experiments.reproduce import dry_run
from tadp_cli.experiments.reproduce.dry_run import dry_rows, first_prompt
from tadp_cli.experiments.reproduce.plan import Bench, images_of_domain, plan_runs
from tadp_cli.inputs.prepare import captions_path, clean_path
from tadp_cli.inputs.prerequisites import missing_inputs
from tadp_heads.data.scenes.write import write_scenes

DATA = {
    "table-1/": "voc2012:data/voc2012, splits trainaug (training) and val",
    "table-2/": "ade20k:data/ade20k, splits train (training) and val",
    "table-3/": "nyuv2:data/nyuv2, splits train (training) and test",
    "table-4/": "cityscapes:data/cityscapes, splits train (training) and val",
    "table-5/": "voc0712-boxes-xml:data/voc, splits trainval (training) and test",
    "table-s1/": "ade20k:data/ade20k, splits train (training) and val",
    "table-s2/": "ade20k:data/ade20k, splits train (training) and val",
}
TARGETS = {
    "table-4/dark-zurich-": "dark-zurich:data/dark-zurich, split val",
    "table-4/nighttime-driving-": "nighttime-driving:data/nighttime-driving, split test",
    "table-5/watercolor-": "watercolor2k:data/watercolor2k, split test",
    "table-5/comic-": "comic2k:data/comic2k, split test",
}
PROMPTS = {
    "vpd": "embeddings (end tokens, averaged over 80 templates) of the class names",
    "vpd-ls": "embeddings (end tokens, averaged over 80 templates) of the class names",
    "vpd-null": "(empty)",
    "class-embs": "embeddings (words) of the class names",
    "class-names": "names of all classes",
    "nouns-20": "nouns of {caption}",
    "oracle": "names of the classes present",
    "empty": "(empty)",
}
MODIFIED = {
    "null": ("{caption}",) * 3,
    "simple": (
        "a dark night photo of {caption}",
        "a watercolor style painting of {caption}",
        "a comic style painting of {caption}",
    ),
    "textual-inversion": (
        "a dark <night> photo of {caption}",
        "a <watercolor> style painting of {caption}",
        "a <comic> style painting of {caption}",
    ),
    "dreambooth": ("a dark sks photo of {caption}", *("a sks style painting of {caption}",) * 2),
    "nearby": ("a foggy photo of {caption}", *("a constructivism painting of {caption}",) * 2),
    "unrelated": ("a watercolor painting of {caption}", *("a dashcam photo of {caption}",) * 2),
}
"""{modifier: prompts by night, of watercolors, of comics} (paper 4.3)."""
MINIMUM_TOKENS = {"0": 0, "20": 20, "40": 40}


LEARNED = (
    "night, by {} from 500 images of dark-zurich:data/dark-zurich, split train/night",
    "watercolor, by {} from 5 images of watercolor2k:data/watercolor2k, split train",
    "comic, by {} from 5 images of comic2k:data/comic2k, split train",
)
"""Appendix D.1, in the order of MODIFIED."""


def free_of_cost(monkeypatch):
    """Counting on full-size models takes seconds per row."""
    monkeypatch.setattr(dry_run, "estimated_bytes", lambda *_: 12e9)
    monkeypatch.setattr(dry_run, "costs_of", lambda _: "867 M parameters")


def rows_of(table, tmp_path, monkeypatch):
    free_of_cost(monkeypatch)
    bench = Bench(out=tmp_path, scale="full")
    return {f"{table}/{row.row}": row.lines for row in dry_rows(plan_runs(load_table(table), bench), bench)}


def longest(table, name):
    return next((table[start] for start in sorted(table, key=len, reverse=True) if name.startswith(start)), None)


@pytest.mark.parametrize("table", sorted({name.partition("/")[0] for name in DATA}))
def test_every_row_of_the_paper_resolves_to_its_data_prompt_captions_and_target(table, tmp_path, monkeypatch):
    for name, lines in rows_of(table, tmp_path, monkeypatch).items():
        row = name.partition("/")[2].removeprefix("4k-").removeprefix("8k-").removeprefix("fast-")
        assert lines["data"] == longest(DATA, name), name
        assert lines.get("target") == longest(TARGETS, name), name
        if table in ("table-4", "table-5"):
            domain = next(
                place for place, start in enumerate(("table-4", "table-5/w", "table-5/c")) if name.startswith(start)
            )
            modifier = name.removeprefix(next(start for start in TARGETS if name.startswith(start)))
            assert lines["prompt"] == MODIFIED[modifier][domain], name
            assert lines["captions"] == "blip2, at least 0 tokens"
            learned = LEARNED[domain].format(modifier) if modifier in ("textual-inversion", "dreambooth") else None
            assert lines.get("domain") == learned, name
        elif row.startswith("tadp-"):
            assert lines["prompt"] == "{caption}", name
            assert lines["captions"] == f"blip2, at least {row.rpartition('-')[2]} tokens", name
        elif table == "table-s2":
            assert lines["prompt"] == PROMPTS["oracle"]
        elif table == "table-3" and "vpd" in row:
            assert lines["prompt"] == "embedding of the image's room, averaged over 80 templates"
        else:
            assert lines["prompt"] == PROMPTS[row], name
            assert ("captions" in lines) == (row == "nouns-20")
        assert ("costs" in lines) == (table == "table-2" and "tadp-0" not in row and "20" not in row)
        assert "weights of sd15 (`tadp fetch sd15`)" in lines["missing"]
        assert "no folder data/" in lines["missing"]


def test_night_is_learned_once_from_dark_zurich_s_training_images(tmp_path):
    """For both targets of Table 4; a download without that split is reported before anything is run."""
    LAYOUTS["dark-zurich"](tmp_path / "dz", "val")
    bench = Bench(out=tmp_path / "out", scale="full", targets=(f"dark-zurich:{tmp_path / 'dz'}",))
    rows = ["dark-zurich-textual-inversion", "nighttime-driving-textual-inversion"]
    plan = plan_runs(load_table("table-4"), bench, rows)
    for planned in plan:
        (output,) = (line for line in missing_inputs(planned.recipe, bench) if "domain" in line)
        assert output.startswith("images of the domain night: ")
    picture(tmp_path / "dz/rgb_anon/train/night/seq/tr1_rgb_anon.png")
    sources = {images_of_domain(planned.recipe, bench) for planned in plan}
    assert sources == {f"dark-zurich:{tmp_path / 'dz'}"}
    assert not [line for planned in plan for line in missing_inputs(planned.recipe, bench) if "domain" in line]


def test_a_row_lists_its_schedule_its_memory_and_what_is_missing(tmp_path):
    """Of Table 1 by command; the full-size UNet is built without memory."""
    (tmp_path / "voc").mkdir()
    said = tadp(
        *("reproduce", "table-1", "--scale", "full", "--dry-run", "--row", "tadp-40", "--out", tmp_path / "out"),
        *("--data", f"voc2012:{tmp_path / 'voc'}", "--set", "train.steps=7", "--seeds", "2"),
    )
    assert "steps 7 (seeds 42, 43)" in said
    assert "batch 2 images x 4 passes = 8 per step" in said
    memory = float(said.partition("memory about ")[2].partition(" GB in fp32")[0])
    assert 12 < memory < 24, "860 M weights with gradients and two moments are 14 GB"
    missing = said.partition("missing ")[2]
    assert "no folder" not in missing
    assert "weights of blip2 (`tadp fetch blip2`)" in missing
    assert f"a GPU with {memory:.0f} GB" in missing
    assert not (tmp_path / "out").exists(), "nothing is run"


def test_small_scale_lacks_nothing_and_lists_what_is_drawn(tmp_path):
    bench = Bench(out=tmp_path)
    (row,) = dry_rows(plan_runs(load_table("table-4"), bench, ["dark-zurich-textual-inversion"]), bench)
    assert row.lines["data"].startswith("Scenes: photo, splits train")
    assert row.lines["target"] == "Scenes: night, split test"
    assert row.lines["domain"] == "night, by textual-inversion from Scenes"
    assert row.lines["missing"] == "nothing"
    assert row.lines["steps"] == "400 (seeds 0, 1, 2)"


@pytest.mark.parametrize(
    ("kind", "prompt"),
    [
        ("caption", "a comic style painting of a ring and a star"),
        ("class-names", "a comic style painting of circle hexagon"),
        ("oracle", "a comic style painting of "),
        ("empty", "a comic style painting"),
        ("averaged-eos", "embeddings (end tokens, averaged over 80 templates) of circle, hexagon, "),
    ],
)
def test_with_the_data_the_prompt_is_that_of_the_first_image(kind, prompt, tmp_path):
    write_scenes(tmp_path / "data", task="segmentation", domain="photo", split="train", count=2, seed=0, size=32)
    dataset = dry_run.open_data(tmp_path / "data", "segmentation", "train")
    file = tmp_path / "captions.jsonl"
    CaptionStore([CaptionRecord(id=dataset.ids[0], caption="a ring and a star")]).write(file)
    modifier = () if kind == "averaged-eos" else ("prompt.modifier=simple", "prompt.domain=comic")
    recipe = load_recipe("scenes-segmentation", (f"prompt.kind={kind}", f"data.captions={file}", *modifier))
    assert first_prompt(recipe, dataset, Bench(out=tmp_path)).startswith(prompt)


PASCAL = "airplane bicycle bird boat bottle bus car cat chair cow dining table dog horse motorcycle person"
FIRST_IMAGES = {
    "table-1/class-names": f"background {PASCAL} potted plant sheep sofa train television",
    "table-1/oracle": "background television",
    "table-1/tadp-0": "a cat on a sofa",
    "table-2/oracle": "thing 1 thing 150",
    "table-4/dark-zurich-simple": "a dark night photo of a cat on a sofa",
    "table-4/nighttime-driving-nearby": "a foggy photo of a cat on a sofa",
    "table-5/watercolor-simple": "a watercolor style painting of a cat on a sofa",
    "table-5/comic-null": "a cat on a sofa",
}


@pytest.mark.parametrize("name", FIRST_IMAGES)
def test_with_official_data_the_prompts_are_the_paper_s(name, tmp_path, monkeypatch):
    """In the layouts of the downloads, with the captions that an earlier reproduction wrote."""
    free_of_cost(monkeypatch)
    recipe = load_recipe(name)
    places = {"data": (recipe.data.folder, recipe.data.train), "target": (recipe.test.folder, recipe.test.split)}
    given, bench = {}, Bench(out=tmp_path / "out", scale="full")
    for option, (where, split) in places.items():
        if where:
            known = where.partition(":")[0]
            LAYOUTS[known](tmp_path / known, split)
            given[option] = f"{known}:{tmp_path / known}"
            ids = dry_run.open_data(given[option], recipe.task, split).ids
            file = captions_path(recipe, given[option], bench.out)
            file = clean_path(file, recipe.test.cleaner) if option == "target" else file
            CaptionStore([CaptionRecord(id=ids[0], caption="a cat on a sofa")]).write(file)
    table, row = name.split("/")
    bench = replace(bench, data=(given["data"],), targets=(given["target"],) if "target" in given else ())
    (found,) = dry_rows(plan_runs(load_table(table), bench, [row]), bench)
    assert found.lines["prompt"] == FIRST_IMAGES[name]
    if "target" in given:
        assert found.lines["prompt, target"] == FIRST_IMAGES[name]
        assert found.lines["target"].startswith(given["target"])
    assert "no folder" not in found.lines["missing"]
