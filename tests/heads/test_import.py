"""`import_folder`: the masks and boxes of any format in the layout of folders."""

import json

import numpy as np
import pytest
from annotation_exports import EXPORTS, SHAPES, json_text, labelme_file, labelme_shape
from official_layouts import picture, text
from PIL import Image

from tadp_heads.data.annotations.importer import import_folder
from tadp_heads.data.check.folder import check_folder
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.settings import SplitSettings


@pytest.mark.parametrize("name", EXPORTS)
def test_what_was_imported_is_what_was_drawn(tmp_path, name):
    source, out = tmp_path / "source", tmp_path / "out"
    EXPORTS[name](source)
    done = import_folder(source, out)
    assert (done.written, done.unchanged, done.dropped) == (2, 0, [])
    assert not [line for report in check_folder(out) for line in report.problems]
    for task in ("segmentation", "detection"):
        for split in ("train", "val"):
            before, after = open_folder(source, task, split), open_folder(out, task, split)
            assert (before.ids, before.classes, before.palette) == (after.ids, after.classes, after.palette)
            for one, other in zip(before, after, strict=True):
                np.testing.assert_array_equal(one.image, other.image)
                if task == "segmentation":
                    np.testing.assert_array_equal(one.target, other.target)
                else:
                    np.testing.assert_allclose(one.target["boxes"], other.target["boxes"], atol=1e-4)
    again = import_folder(source, out)
    assert (again.written, again.unchanged) == (0, 2)


def test_unreadable_files_are_left_out_and_listed_and_the_rest_continues(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    EXPORTS["labelme"](source)
    text(source / "broken.json", "{")
    labelme_file(source / "lost.json", "lost.png", [])
    picture(source / "cut.png")
    (source / "cut.png").write_bytes((source / "cut.png").read_bytes()[:60])
    labelme_file(source / "cut.json", "cut.png", [labelme_shape("car", [(1, 1), (9, 1), (9, 9)])])
    done = import_folder(source, out, "segmentation")
    assert done.written == 2
    assert [line.split(": ")[0].rpartition("/")[2] for line in done.dropped] == ["broken.json", "lost.json", "cut.png"]
    report = json.loads((out / "import.json").read_text())
    assert report["dropped"] == done.dropped
    assert report["splits"] == {"train": 1, "val": 1}
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["first.png", "größe 2.png"]


def test_a_later_call_adds_what_was_labelled_since(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    EXPORTS["labelme"](source)
    import_folder(source, out, "segmentation")
    (out / "masks" / "first.png").unlink()
    picture(source / "new.png", (24, 16))
    labelme_file(source / "new.json", "new.png", [labelme_shape("car", [(1, 1), (9, 1), (9, 9)])])
    done = import_folder(source, out, "segmentation")
    assert (done.written, done.unchanged) == (2, 1)
    labelme_file(source / "new.json", "new.png", [labelme_shape("tree", [(1, 1), (9, 1), (9, 9)])])
    assert import_folder(source, out, "segmentation").written == 3, "a new class renumbers the others"
    assert (out / "classes.txt").read_text() == "background\ncar\nroad\ntree\n"


def test_splits_by_options_and_groups(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    ring = SHAPES["first.png"][0][1]
    EXPORTS["labelme"](source, {f"clip{n // 4}_{n}.png": [("car", ring)] for n in range(16)})
    done = import_folder(source, out, "segmentation", SplitSettings(val=0.3, test=0.3, group=r"clip\d+"))
    parts = {name: {one.split("_")[0] for one in (out / f"{name}.txt").read_text().split()} for name in done.splits}
    assert set(parts) == {"train", "val", "test"}
    assert sum(map(len, parts.values())) == 4, "each clip is in one split"


def test_masks_of_colours_become_ids_and_prompts_are_kept(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    picture(source / "images" / "a.png", (24, 16))
    (source / "masks").mkdir()
    Image.new("RGB", (24, 16), (9, 9, 250)).save(source / "masks" / "a.png")
    text(
        source / "tadp.toml", '[palette]\nsky = [1, 1, 1]\n"x y" = [9, 9, 250]\n[prompts]\n"x y" = "a \\"big\\" tree"\n'
    )
    import_folder(source, out)
    dataset = open_folder(out)
    assert dataset.classes == ("sky", "x y")
    assert dataset.prompt_names == ("sky", 'a "big" tree')
    assert dataset.palette == ((1, 1, 1), (9, 9, 250))
    assert dataset.read("a").target.unique().tolist() == [1]


def test_names_that_lead_out_of_the_folder_stay_in_it(tmp_path):
    from annotation_exports import coco_content

    source, out = tmp_path / "source", tmp_path / "out"
    picture(source / "images" / "a.png", (24, 16))
    json_text(source / "annotations" / "instances_train.json", coco_content({"../../a.png": SHAPES["first.png"]}))
    import_folder(source, out, "segmentation")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]
    assert (out / "masks" / "a.png").is_file()


def test_folders_of_something_else_are_refused(tmp_path):
    source = tmp_path / "source"
    EXPORTS["labelme"](source)
    with pytest.raises(ValueError, match="lie in each other"):
        import_folder(source, source / "out")
    text(tmp_path / "full" / "file.txt", "x")
    with pytest.raises(ValueError, match="holds other files"):
        import_folder(source, tmp_path / "full")
    EXPORTS["yolo"](tmp_path / "other")
    import_folder(source, tmp_path / "out")
    with pytest.raises(ValueError, match=r"holds an import of .*source; name another --out"):
        import_folder(tmp_path / "other", tmp_path / "out")
    with pytest.raises(ValueError, match="no annotations for it, expected depth"):
        import_folder(source, tmp_path / "depth", "depth")
