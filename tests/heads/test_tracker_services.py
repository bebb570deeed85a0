"""Trackio and Weights & Biases without a network: what is recorded is read back from their own files."""

import struct
from collections import defaultdict

import pytest
from PIL import Image

from tadp_heads.training.tracking.trackers import Trackers

SETTINGS = {"train.steps": 4, "prompt.kind": "caption", "data.size": (64, 64), "backbone.lora": None}
RECIPE = {"recipe": '```toml\n[train]\nsteps = 4\nname = "ä"\n```'}


def record(name, folder, steps, begun):
    """As `fit` does it: a step's numbers, and an evaluation with its panel at the last one."""
    with Trackers((name,), folder, settings=SETTINGS, texts=RECIPE) as trackers:
        trackers.start(begun)
        for step in steps:
            trackers.log(step, {"train/loss": 1 / step, "lr/head": 1e-3, "train/grad_norm": float("nan")})
        trackers.log(steps[-1], {"val/mIoU": 0.5})
        trackers.image(steps[-1], "val/predictions", Image.new("RGB", (32, 16), "red"))


def test_trackio_continues_one_record(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio", reason="the tracker trackio")
    from trackio.sqlite_storage import SQLiteStorage

    for steps in ([1, 2], [3, 4]):
        record("trackio", tmp_path / "run", steps, steps[0] - 1)
    (name,) = [name for name in SQLiteStorage.get_runs("tadp") if name.startswith("run-")]
    rows = SQLiteStorage.get_logs("tadp", name)
    found = defaultdict(list)
    for row in rows:
        for key, value in row.items():
            found[key].append((row["step"], value))
    assert found["train/loss"] == [(step, pytest.approx(1 / step)) for step in (1, 2, 3, 4)]
    assert found["lr/head"][0] == (1, 1e-3)
    assert [step for step, _ in found["val/mIoU"]] == [2, 4]
    assert [(step, value["_type"]) for step, value in found["val/predictions"]] == [
        (2, "trackio.image"),
        (4, "trackio.image"),
    ]
    ((step, text),) = found["recipe"]
    assert (step, text["_value"]) == (0, RECIPE["recipe"])
    assert "train/grad_norm" not in found, "which is not finite"
    settings = SQLiteStorage.get_run_config("tadp", name)
    expected = {"train.steps": 4, "prompt.kind": "caption", "data.size": "(64, 64)", "backbone.lora": "None"}
    assert {key: value for key, value in settings.items() if not key.startswith("_")} == expected


def wandb_records(path):
    """The records of an offline run: a LevelDB log of protocol buffers, after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    blob, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(blob):
        room = 32768 - place % 32768
        if room < 7:  # the end of a block, too short for a header
            place += room
            continue
        _, size, kind = struct.unpack("<IHB", blob[place : place + 7])
        parts += blob[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # full, or the last of several
            message = Record()
            message.ParseFromString(parts)
            parts = b""
            yield message


@pytest.mark.filterwarnings("ignore")  # of wandb's own
def test_wandb_records_offline_under_one_identity(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="the tracker wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    for steps in ([1, 2], [3, 4]):
        record("wandb", tmp_path / "run", steps, steps[0] - 1)
    wandb.teardown()  # its process ends, with all written
    files = sorted((tmp_path / "run" / "tracking" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    assert len({file.name for file in files}) == 1, "one identity, so that `wandb sync` makes one run of them"
    steps = []
    for file in files:
        records = list(wandb_records(file))
        (run,) = [one.run for one in records if one.HasField("run")]
        settings = {item.key: item.value_json for item in run.config.update}
        assert settings["train.steps"] == "4"
        assert settings["prompt.kind"] == '"caption"'
        history = [
            {item.key or "/".join(item.nested_key): item.value_json for item in one.history.item}
            for one in records
            if one.HasField("history")
        ]
        steps += [int(row["_step"]) for row in history if "train/loss" in row]
        assert any("val/mIoU" in row and ".png" in row.get("val/predictions/filenames", "") for row in history)
        assert any("recipe" in row for row in history) == (file == files[0])
    assert steps == [1, 2, 3, 4]


def test_a_service_that_refuses_is_one_line_and_is_described_when_it_takes_the_run(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="the extra tadp-heads[tensorboard]")
    from accelerate.tracking import TensorBoardTracker

    class LoginError(Exception):
        """Services raise their own."""

    def refuse(self):
        raise LoginError("No API key configured.\nMore about it.")

    described = []
    monkeypatch.setattr(TensorBoardTracker, "store_init_configuration", lambda self, values: described.append(values))
    with monkeypatch.context() as patched:
        patched.setattr(TensorBoardTracker, "start", refuse)
        with (
            Trackers(("tensorboard",), tmp_path, settings=SETTINGS) as trackers,
            pytest.raises(ValueError, match=r"^log_with tensorboard: .*\(No API key configured.\); log in, choose"),
        ):
            trackers.start(0)
    assert described == []
    for _ in range(2):
        with Trackers(("tensorboard",), tmp_path, settings=SETTINGS) as trackers:
            trackers.start(0)
    assert len(described) == 1
