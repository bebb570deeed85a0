"""Settings of the whole process that are the user's or a cluster's: they change nothing, and stay as they are."""

import os

import pytest
import torch
from PIL import Image

from tadp_cli.config.recipe import load_recipe
from tadp_cli.console.launchers import first_process, forget_other_launchers, process_share, require_one_process
from tadp_cli.pipelines.train import train
from tadp_heads import PerceptionModel
from tadp_heads.data.scenes.write import write_scenes
from tadp_personalize.training.accelerate_state import without_other_launchers

LAUNCHED = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.fixture(params=[["RANK"], ["RANK", "WORLD_SIZE"], ["RANK", "WORLD_SIZE", "LOCAL_RANK"], []])
def cluster(request, monkeypatch):
    """Some of a launcher's variables, and those of SLURM and MPI."""
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    for name in request.param:
        monkeypatch.setenv(name, LAUNCHED[name])
    for name, value in {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "PMI_SIZE": "4", "PMI_RANK": "3"}.items():
        monkeypatch.setenv(name, value)


def test_a_command_works_alone_and_prints(cluster):
    forget_other_launchers()
    assert process_share()[:2] == (0, 1)
    assert first_process()
    require_one_process("demo")
    assert os.environ["SLURM_PROCID"] == "3"


def test_an_accelerator_is_of_one_process_and_the_environment_stays(cluster):
    before = dict(os.environ)
    with without_other_launchers() as alone:
        assert alone
        assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK", "PMI_SIZE"} & set(os.environ)
    assert dict(os.environ) == before


def test_a_launcher_is_left_alone(monkeypatch):
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    forget_other_launchers()
    with without_other_launchers() as alone:
        assert not alone
        assert process_share()[:2] == (3, 4)


def test_a_default_number_format_of_the_users_code_changes_nothing(tmp_path):
    write_scenes(tmp_path / "d", task="segmentation", domain="photo", split="train", count=1, seed=0)
    recipe = load_recipe("scenes-segmentation").replace(
        **{"data.folder": str(tmp_path / "d"), "data.val": "train", "train.steps": 1, "train.batch_size": 1},
        **{"prompt.kind": "empty"},
    )
    torch.set_default_dtype(torch.float64)
    try:
        train(recipe, tmp_path / "run")
        model = PerceptionModel.from_pretrained(tmp_path / "run")
        model.predict(Image.new("RGB", (64, 64)))
        assert {parameter.dtype for parameter in model.head.parameters()} == {torch.float32}
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
