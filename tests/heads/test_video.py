"""Videos: frames are read as they were written, shots are found, predictions stream and resume."""

import csv
import gc
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tadp_heads import PerceptionConfig, PerceptionModel
from tadp_heads.data.errors import DataError
from tadp_heads.segmentation import FPNHead
from tadp_heads.video.files import VideoFile, frame_count, frame_rate, is_video, read_frames
from tadp_heads.video.predict import VideoOptions, miou_between, predict_video
from tadp_heads.video.shots import ShotDetector

SIZE = (48, 32)
COLOURS = ((200, 30, 30), (30, 40, 200))


def frame_of(colour, shift=0):
    """A square of another colour, which moves."""
    pixels = np.full((SIZE[1], SIZE[0], 3), colour, np.uint8)
    pixels[8:20, 4 + shift : 18 + shift] = (240, 240, 60)
    return Image.fromarray(pixels)


def write_clip(path, lengths=(7, 6), size=SIZE):
    """One shot per length, each of a colour."""
    with VideoFile(path, size, 10) as video:
        for colour, length in zip(COLOURS, lengths, strict=True):
            for shift in range(length):
                video.add(frame_of(colour, shift).resize(size))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("av")
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path)
    return path


def test_frames_are_read_in_order_as_they_were_written(clip):
    frames = list(read_frames(clip))
    assert [frame.number for frame in frames] == list(range(13))
    assert [frame.seconds for frame in frames] == pytest.approx([n / 10 for n in range(13)])
    for number in (0, 6, 7, 12):
        drawn = frame_of(COLOURS[number >= 7], number % 7)
        assert frames[number].image.size == SIZE
        assert np.abs(np.asarray(frames[number].image, float) - np.asarray(drawn)).mean() < 12, "but for compression"
    assert (frame_count(clip), frame_rate(clip)) == (13, 10)


def test_odd_sizes_lose_a_row_and_damaged_files_are_one_line(clip, tmp_path):
    write_clip(tmp_path / "odd.mp4", (1, 1), (35, 21))
    assert next(iter(read_frames(tmp_path / "odd.mp4"))).image.size == (34, 20)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "half.mp4").write_bytes(clip.read_bytes()[:500])
    for name in ("text.mp4", "half.mp4"):
        with pytest.raises(DataError, match="found damaged data at its start"):
            list(read_frames(tmp_path / name))
    assert is_video("a/B.MP4")
    assert not is_video("a/mp4.png")


def test_shots_begin_where_colours_change():
    detector = ShotDetector(shortest=3)
    frames = [frame_of(COLOURS[n >= 5], n) for n in range(10)]
    frames[1] = Image.new("RGB", SIZE, "white")  # a flash
    cuts = [detector.add(frame) for frame in frames]
    assert [number for number, cut in enumerate(cuts) if cut] == [0, 5]
    assert detector.shot == 1
    with pytest.raises(ValueError, match="a shot threshold of 0"):
        ShotDetector(0)


def test_miou_between_masks_counts_classes_of_either():
    one = np.array([[0, 0, 1, 1]], np.uint8)
    assert miou_between(one, one) == 1
    assert miou_between(one, np.array([[0, 1, 1, 255]], np.uint8)) == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)


class Strided(nn.Module):
    """Two levels of convolutions, to which the context's mean is added."""

    levels = ((8, 4), (16, 8))

    def __init__(self):
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 8, 7, stride=4, padding=3), nn.Conv2d(8, 16, 3, stride=2, padding=1)

    def forward(self, images, context):
        fine = self.fine(images + context.mean((1, 2))[:, None, None, None]).relu()
        return SimpleNamespace(levels=(fine, self.coarse(fine).relu()))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    backbone = Strided()
    config = PerceptionConfig(task="segmentation", classes=("a", "b", "c"), prompt="")
    return PerceptionModel(backbone, FPNHead(backbone.levels, 3, variant="ade", width=8), config).eval()


class Run:
    """Predicts a video and keeps what was asked for."""

    def __init__(self, model, folder, **options):
        self.model, self.folder, self.options = model, folder, VideoOptions(batch_size=3, **options)
        self.asked, self.written = [], []

    def contexts(self, texts):
        self.asked += [text.id for text in texts]
        return torch.tensor([[[int(text.id[-4:]) / 10]] for text in texts])

    def write(self, result, name):
        self.written.append(name)
        result.write(self.folder, name, "clip.mp4")
        result.overlay().save(self.folder / f"{name}_overlay.png")

    def __call__(self, path):
        self.folder.mkdir(exist_ok=True)
        return predict_video(self.model, path, self.folder, self.contexts, self.write, self.options)


def test_a_video_is_predicted_with_one_text_per_shot_or_per_frame(model, clip, tmp_path):
    run = Run(model, tmp_path / "shots")
    summary = run(clip)
    assert run.asked == ["shot_0000", "shot_0001"]
    assert run.written == [f"{number:06d}" for number in range(13)]
    rows = list(csv.DictReader((run.folder / "frames.csv").read_text().splitlines()))
    assert [row["shot"] for row in rows] == ["0"] * 7 + ["1"] * 6
    assert [number for number, row in enumerate(rows) if not row["miou_with_previous"]] == [0, 7]
    values = [float(row["miou_with_previous"]) for row in rows if row["miou_with_previous"]]
    assert summary == json.loads((run.folder / "summary.json").read_text())
    assert (summary["frames"], summary["shots"], summary["caption_per"]) == (13, 2, "shot")
    assert summary["consistency_miou"] == pytest.approx(np.mean(values), abs=1e-4)
    overlays = list(read_frames(run.folder / "overlay.mp4"))
    assert len(overlays) == 13
    assert frame_rate(run.folder / "overlay.mp4") == 10
    with Image.open(run.folder / "000003_overlay.png") as image:
        assert np.abs(np.asarray(image, float) - np.asarray(overlays[3].image)).mean() < 12
    each = Run(model, tmp_path / "frames", caption_per="frame")
    assert each(clip)["frames"] == 13
    assert each.asked == [f"frame_{number:06d}" for number in range(13)]
    with pytest.raises(ValueError, match="a caption per 'second': expected one per shot or frame"):
        VideoOptions(caption_per="second")


def test_a_killed_prediction_resumes(model, clip, tmp_path):
    whole, broken = Run(model, tmp_path / "whole"), Run(model, tmp_path / "broken")
    whole(clip)
    write, broken.write = broken.write, lambda result, name: 1 / (name != "000008") and write(result, name)
    with pytest.raises(ZeroDivisionError):
        broken(clip)
    assert not (broken.folder / "summary.json").exists()
    again = Run(model, tmp_path / "broken")
    again(clip)
    assert again.written == [f"{number:06d}" for number in range(8, 13)]
    assert again.asked == ["shot_0001"]
    for name in ("frames.csv", "000012_mask.png"):
        assert (broken.folder / name).exists()
    assert (again.folder / "summary.json").read_text() == (whole.folder / "summary.json").read_text()


def test_frames_are_not_kept(model, tmp_path):
    pytest.importorskip("av")
    write_clip(tmp_path / "long.mp4", (40, 40))
    run, alive = Run(model, tmp_path / "out"), []
    write = run.write

    def counting(result, name):
        write(result, name)
        if int(name) % 13 == 0:
            alive.append(sum(issubclass(type(one), Image.Image) for one in gc.get_objects()))

    run.write = counting
    run(tmp_path / "long.mp4")
    assert max(alive) - alive[0] <= 4, "of 80 frames a batch, and the shot's first"
