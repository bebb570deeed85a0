"""`tadp personalize --set`: every setting of the methods, and the prompts and images of the paper's own code."""

import pytest
from invoking import tadp
from PIL import Image

from tadp_cli.config.personalize_overrides import with_settings
from tadp_cli.pipelines.personalize import draw_domain, settings_by_method
from tadp_personalize import PRESETS
from tadp_personalize.prompts import fill
from tadp_personalize.samples import stack_sheets, write_images

BOTH = settings_by_method("both", "sd15", rank=4)


def test_settings_reach_the_methods_that_have_them():
    given = ("class_images=200", "class_prompt=a photo", "learning_rate=1e-5", "lora.alpha=16", "max_grad_norm=none")
    changed = with_settings(BOTH, (*given, "train_text_encoder=true", 'templates=["a {token}"]', "vectors=3"))
    token, tuned = changed["textual-inversion"], changed["dreambooth"]
    assert (tuned.class_images, tuned.class_prompt, tuned.lora.alpha) == (200, "a photo", 16.0)
    assert tuned.train_text_encoder
    assert token.vectors == 3
    for config in (token, tuned):
        assert (config.learning_rate, config.max_grad_norm, config.templates) == (1e-5, None, ("a {token}",))
    assert BOTH["dreambooth"].class_images == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("class_images", "expected key=value"),
        ("class_images=many", "class_images is 'many', expected int"),
        ("class_images=-1", "class_images must be at least 0"),
        ("crop=left", "unknown crop 'left'; choose from center, random, squash"),
        ("clas_images=1", "textual-inversion and dreambooth have no setting clas_images: steps, learning_rate"),
        ("lora=4", "have no setting lora"),
        ("templates=[1]", "templates is 1, expected str"),
    ],
)
def test_wrong_settings_are_named(setting, message):
    with pytest.raises(ValueError, match=message):
        with_settings(BOTH, (setting,))


def test_the_command_takes_them():
    plain = ("personalize", "--domain", "comic", "--method", "dreambooth", "--dry-run")
    whole = tadp(*plain, "--set", "train_text_encoder=true")
    assert whole != tadp(*plain)
    assert "unknown crop" in tadp(*plain, "--set", "crop=left", code=2)


def test_the_papers_code_as_a_preset():
    """docs/reference.md, section 6: 19 sentences or one, images squashed or cropped at random, clipped or not."""
    code = PRESETS["paper-code"]
    token, tuned = code["textual-inversion"], code["dreambooth"]
    assert len(token.templates) == 19
    assert fill(token.templates[0], "<comic>") == "a painting in the style of <comic>"
    assert (token.crop, token.flip, token.max_grad_norm) == ("squash", 0.5, None)
    assert [fill(template, "sks") for template in tuned.templates] == ["an image in sks style"]
    assert (tuned.crop, tuned.flip, tuned.max_grad_norm) == ("random", 0.0, 1.0)
    assert (token.steps, tuned.steps) == (3000, 1000)


def test_sheets_of_images_and_samples(tmp_path):
    red, blue = Image.new("RGB", (8, 6), "red"), Image.new("RGB", (4, 9), "blue")
    write_images(tmp_path / "a.png", [red, blue], size=4)
    with Image.open(stack_sheets(tmp_path / "b.png", [tmp_path / "a.png", tmp_path / "a.png"])) as sheet:
        assert sheet.size == (16, 8)
        assert [sheet.getpixel((x, 5)) for x in (1, 5, 9)] == [(255, 0, 0), (0, 0, 255), (0, 0, 0)]


@pytest.mark.slow  # draws 24 pictures
def test_both_methods_draw_sheets_that_stand_below_each_other(tmp_path):
    pictures, _ = draw_domain(tmp_path / "scenes", "comic", 3, seed=5)
    given = ("--domain", "comic", "--images", pictures, "--captioner", "none", "--method", "both", "--steps", "1")
    tadp("personalize", *given, "--rank", "2", "--samples", "--out", tmp_path / "out")
    heights = []
    for name in ("samples.png", *(f"{m}/samples/final.png" for m in ("textual-inversion", "dreambooth"))):
        with Image.open(tmp_path / "out" / name) as sheet:
            heights.append(sheet.height)
    with Image.open(tmp_path / "out" / "dreambooth" / "images.png") as images:
        assert heights[0] == heights[1] + heights[2] + images.height
