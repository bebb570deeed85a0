"""Files say of which format they are; those of a newer one are refused in one line, whoever reads them."""

import json
import shutil
import tomllib

import pytest
import torch
from invoking import tadp
from safetensors.torch import save_file

from tadp_backbone.text.textual_inversion import read_tokens
from tadp_captioning import CaptionStore
from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_heads import PerceptionModel
from tadp_heads.format_version import check_format
from tadp_personalize import base_of, load_token

NEWER = r"written by a newer tadp \(format 2; this one reads up to 1\): upgrade tadp"


@pytest.mark.parametrize("version", [None, 1, 2, "1"])
def test_what_is_known_is_read(version):
    check_format(version, 2, "file")


@pytest.mark.parametrize("version", ["x", 0, -1, 1.0, True, [1], "9" * 5000])
def test_what_is_no_version_is_refused(version):
    with pytest.raises(ValueError, match=r"^file: its format is .*, expected a number from 1 to 2$"):
        check_format(version, 2, "file")


def test_a_newer_one_is_refused():
    with pytest.raises(ValueError, match=r"^file was written by a newer tadp \(format 3; this one reads up to 2\)"):
        check_format("3", 2, "file")


def test_recipes(tmp_path):
    text = Recipe().to_toml()
    assert tomllib.loads(text)["format"] == 1
    (tmp_path / "r.toml").write_text(text.replace("format = 1", "format = 2"))
    with pytest.raises(ValueError, match=f"r.toml was {NEWER}"):
        load_recipe(tmp_path / "r.toml")


def test_models(first_layout, tmp_path):
    config = json.loads((first_layout / "run" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"format": 2, "new": {}} | config))
    with pytest.raises(ValueError, match=f"config.json was {NEWER}"):
        PerceptionModel.from_pretrained(tmp_path)


def test_a_command_names_the_run_that_is_newer(first_layout, tmp_path):
    run = shutil.copytree(first_layout / "run", tmp_path / "run")
    recipe = (run / "config.toml").read_text()
    (run / "config.toml").write_text("format = 2\nnew = 1\n" + recipe)
    said = tadp("eval", run, code=2)
    assert "config.toml was written by a newer tadp (format 2; this one reads up to 1): upgrade tadp" in said


def test_captions(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"id": "a", "caption": "a dog", "tadp_format": 2}\n')
    with pytest.raises(ValueError, match=f"c.jsonl, line 1: the caption was {NEWER}"):
        CaptionStore.read(tmp_path / "c.jsonl")


def test_a_caption_field_of_another_tool_is_kept(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"id": "a", "caption": "a dog", "format": "jpg"}\n')
    record = CaptionStore.read(tmp_path / "c.jsonl").record("a")
    assert record.extra == {"format": "jpg"}
    assert record.to_json()["format"] == "jpg"


def test_tokens_and_cards(tmp_path):
    file = tmp_path / "learned_embeds.safetensors"
    save_file({"<x>": torch.ones(1, 4)}, file, metadata={"base": "sha256:1", "tadp_format": "2"})
    for read in (read_tokens, base_of, lambda path: load_token(path, tokenizer=None, text_encoder=None)):
        with pytest.raises(ValueError, match=f"learned_embeds.safetensors was {NEWER}"):
            read(file)
    (tmp_path / "personalization.json").write_text('{"format": 2, "base": {"identity": "sha256:1"}}')
    with pytest.raises(ValueError, match=f"personalization.json was {NEWER}"):
        base_of(tmp_path)
