import string
import subprocess
import sys

import pytest

import tadp_personalize
from tadp_personalize import PRESETS, DreamBoothConfig, TextualInversionConfig, preset
from tadp_personalize.prompts import STYLE_TEMPLATES, fill, plain


@pytest.mark.parametrize("template", STYLE_TEMPLATES)
def test_templates_read_as_sentences_with_and_without_the_token(template):
    learned, bare = fill(template, "<x>"), plain(template)
    assert learned.count("<x>") == 1
    assert set(bare) <= set(string.ascii_lowercase + " ")
    assert "style" not in bare.split()
    assert bare == " ".join(bare.split()) != ""


def test_plain_is_the_sentence_without_the_domain():
    assert plain("a quiet view [in {token} style]") == "a quiet view"
    assert plain("a [{token} style] view") == "a view"
    assert fill("a [{token} style] view", "comic") == "a comic style view"


@pytest.mark.parametrize(
    "template", ["no token", "a [{token} view", "{token} and {name}", "a {}", "a view [of {caption} in {token} style]"]
)
def test_bad_templates(template):
    with pytest.raises(ValueError, match="template"):
        TextualInversionConfig(templates=(template,))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("flip", 1.5),
        ("schedule", "sometimes"),
        ("mixed_precision", "int8"),
        ("crop", "left"),
        ("vectors", 0),
        ("templates", ()),
        ("warmup", -1),
    ],
)
def test_bad_settings_are_named(setting, value):
    with pytest.raises(ValueError, match=setting):
        TextualInversionConfig(**{setting: value})


def test_kept_latents_and_random_crops_exclude_each_other():
    with pytest.raises(ValueError, match="cache_latents"):
        DreamBoothConfig(cache_latents=True, crop="random")


def test_the_papers_two_accounts():
    """Table S4c and S4d, and appendix D.1."""
    s4, d1 = (preset(name, "textual-inversion") for name in ("paper-table-s4", "paper-d1"))
    assert (s4.steps, s4.learning_rate, s4.batch_size, s4.accumulate) == (3000, 5e-4, 1, 4)
    assert (d1.steps, d1.learning_rate, d1.schedule, d1.warmup) == (1000, 5e-4, "constant", 0)
    s4, d1 = (preset(name, "dreambooth") for name in ("paper-table-s4", "paper-d1"))
    assert (s4.steps, s4.learning_rate) == (1000, 5e-6)
    assert (d1.steps, d1.learning_rate, d1.class_images) == (1000, 2e-6, 0)


def test_unknown_presets():
    with pytest.raises(ValueError, match="choose from paper-table-s4, paper-d1, miniature"):
        preset("best", "textual-inversion")
    assert all(config.steps for methods in PRESETS.values() for config in methods.values())


def test_importing_is_cheap_and_the_names_are_there():
    code = "import tadp_personalize, sys; print('torch' in sys.modules, 'diffusers' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False False\n"
    assert all(getattr(tadp_personalize, name) is not None for name in tadp_personalize.__all__)
    assert not hasattr(tadp_personalize, "nothing")
