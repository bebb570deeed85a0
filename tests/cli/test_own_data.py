"""docs/own-data.md: its commands, in its order, from a folder of LabelMe files to polygons in another domain."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from annotation_exports import labelme_file, labelme_shape
from invoking import tadp
from PIL import Image

from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.writers.polygons import keyhole, outlines

ONE_STEP = ("--set", "train.steps=1", "--set", "train.batch_size=1", "--set", "train.flip=false")
QUICK = {"train": ONE_STEP, "adapt": (*ONE_STEP, "--modifier", "null")}
"""Options under which a command does everything but learn a domain, which takes minutes, once."""


def labelled_scenes(root, tmp_path):
    """Scenes as LabelMe files."""
    write_scenes(tmp_path / "scenes", task="segmentation", domain="photo", split="train", count=5, seed=0)
    dataset = open_folder(tmp_path / "scenes", "segmentation")
    root.mkdir()
    for sample_id in dataset.ids:
        shutil.copy(dataset.image_files[sample_id], root / f"{sample_id}.png")
        mask = dataset.read(sample_id).target.numpy()
        shapes = [
            labelme_shape(name, keyhole(outline).tolist())
            for label, name in enumerate(dataset.classes)
            if name != "background"
            for outline in outlines(mask == label)
        ]
        labelme_file(root / f"{sample_id}.json", f"{sample_id}.png", shapes, mask.shape[::-1])


@pytest.fixture
def folders(tmp_path, monkeypatch):
    labelled_scenes(tmp_path / "labelled", tmp_path)
    write_scenes(tmp_path / "sketches", task="segmentation", domain="sketch", split="train", count=3, seed=5)
    (tmp_path / "sketches" / "images").rename(tmp_path / "drawings")
    rows = [f"{path.name},star;house\n" for path in sorted((tmp_path / "drawings").iterdir())]
    (tmp_path / "names.csv").write_text("".join(rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_guide_runs_as_it_is_written(repository, folders):
    text = (repository / "docs" / "own-data.md").read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    assert {shlex.split(line)[1] for line in lines} == {"data", "adapt", "predict", "train", "label-next"}
    output = []
    for line in lines:
        words = shlex.split(line)[1:]
        output.append(tadp(*words, *QUICK.get(words[0], ())))
    assert "segmentation: 5 images (LabelMe JSON)" in output[0]
    assert "5 images written" in output[1]
    assert "0 images written, 5 were there already" in output[-1]
    drawings = sorted(path.stem for path in (folders / "drawings").iterdir())
    for out in ("proposed", "named"):
        assert sorted(path.stem for path in (folders / out).glob("train_*.json")) == drawings
        content = json.loads((folders / out / f"{drawings[0]}.json").read_text())
        with Image.open(folders / out / content["imagePath"]) as image:
            assert image.size == (content["imageWidth"], content["imageHeight"])
    chosen = (folders / "next.txt").read_text().splitlines()
    assert len(chosen) == 2
    assert all(Path(line).stem in drawings for line in chosen)


def test_the_scenes_of_the_test_are_read_as_they_were_drawn(folders):
    drawn, dataset = open_folder(folders / "scenes", "segmentation"), open_folder(folders / "labelled", "segmentation")
    for sample_id in drawn.ids:
        before = [drawn.classes[label] for label in drawn.read(sample_id).target.flatten().tolist()]
        after = [dataset.classes[label] for label in dataset.read(sample_id).target.flatten().tolist()]
        assert before == after
