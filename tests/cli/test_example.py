"""examples/train_head.py, as a user runs it."""

import runpy

import pytest

from tadp_heads import PerceptionModel
from tadp_heads.data.scenes.write import write_scenes


def test_a_head_is_trained_from_python(repository, tmp_path, capsys, monkeypatch):
    data = tmp_path / "photos"
    for split, count in (("train", 4), ("val", 2)):
        write_scenes(data, task="segmentation", domain="photo", split=split, count=count, seed=0)
    captions = tmp_path / "captions.jsonl"
    lines = [f'{{"id": "{path.stem}", "caption": "a tree"}}\n' for path in sorted((data / "images").iterdir())]
    captions.write_text("".join(lines))
    script = str(repository / "examples" / "train_head.py")
    monkeypatch.setattr("sys.argv", [script, str(data), str(captions), str(tmp_path / "run"), "2"])
    runpy.run_path(script, run_name="__main__")
    said = capsys.readouterr().out
    assert "step 2: mIoU 0." in said
    assert (tmp_path / "run" / "prediction.png").is_file()
    model = PerceptionModel.from_pretrained(tmp_path / "run" / "best")
    assert model.config.needs_caption
    with pytest.raises(ValueError, match="no caption"):
        model.predict_folder(data / "images").__next__()
