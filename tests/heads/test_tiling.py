"""Large images in windows: the pixels of a window, rows that are the image, boxes that are put together."""

import io
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from torch import nn
from torch.nn import functional as F

from tadp_heads import PerceptionConfig, PerceptionModel
from tadp_heads.detection import FasterRCNNHead
from tadp_heads.detection.detections import Detections
from tadp_heads.segmentation import FPNHead
from tadp_heads.tiling import predict as tiling_predict
from tadp_heads.tiling.boxes import merge_windows
from tadp_heads.tiling.georeference import georeference
from tadp_heads.tiling.predict import Tiling, tiled_boxes, tiled_mask, write_tiled_mask
from tadp_heads.tiling.row_files import ROW_FILES
from tadp_heads.tiling.segmentation import segment_rows
from tadp_heads.tiling.windows import Window, feather, rows_of_windows, starts

STRIDE = 4


def field(height, width, classes=5, seed=0):
    """Logits (K, h, w) of a whole image, of which windows are parts."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(classes, -(-height // STRIDE), -(-width // STRIDE), generator=generator)


def logits_of(whole):
    def parts(windows):
        cells = [tuple(edge // STRIDE for edge in window) for window in windows]
        return torch.stack([whole[:, top:bottom, left:right] for top, left, bottom, right in cells])

    return parts


def joined(rows):
    ids, confidence = zip(*rows, strict=True)
    return torch.cat(ids), torch.cat(confidence)


@pytest.mark.parametrize("size", [(96, 160), (97, 131), (40, 300), (33, 20), (200, 64)])
@pytest.mark.parametrize("overlap", [0, 8, 32])
def test_windows_of_one_field_give_the_field(size, overlap, monkeypatch):
    monkeypatch.setattr("tadp_heads.tiling.segmentation._STRIP_BYTES", 5 * 4 * size[1] * 7)  # strips of seven rows
    whole = field(*size)
    rows = segment_rows(logits_of(whole), size, side=64, overlap=overlap, stride=STRIDE, batch_size=3, confidence=True)
    ids, confidence = joined(rows)
    expected = F.interpolate(whole[None], scale_factor=float(STRIDE), mode="bilinear")[0, :, : size[0], : size[1]]
    top = expected.softmax(0).max(0)
    assert ids.shape == size
    # Where two classes are equal, rounding decides.
    assert (ids == top.indices).float().mean() > 0.999
    torch.testing.assert_close(confidence.float(), top.values, atol=2e-3, rtol=0)


def test_windows_are_averaged_by_their_feathers():
    flat = {0: 1.0, 32: 3.0}
    rows = segment_rows(
        lambda windows: torch.stack(
            [torch.stack([torch.full((16, 16), flat[w.left]), torch.full((16, 16), 2.0)]) for w in windows]
        ),
        (64, 96),
        side=64,
        overlap=32,
        stride=STRIDE,
        confidence=True,
    )
    ids, confidence = joined(rows)
    assert ids[0, 10] == 1
    assert ids[0, -10] == 0
    sure = confidence[0].float()
    assert sure[46:50].tolist() == pytest.approx([0.5] * 4, abs=0.03), "half way both count alike"
    assert sure[0] == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-3)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 100, 1000])
def test_windows_cover_a_side_and_end_with_it(length):
    begins = starts(length, 64, 16)
    assert begins[0] == 0
    assert max(begins) + 64 == max(length, 64)
    assert all(later - earlier <= 48 for earlier, later in pairwise(begins))
    with pytest.raises(ValueError, match="overlap of 64 pixels"):
        starts(100, 64, 64)
    assert feather(8, 8, 3).min() > 0


@pytest.mark.parametrize("kind", ROW_FILES)
@pytest.mark.parametrize("palette", [(), ((0, 0, 0), (255, 0, 9), (7, 8, 200))])
def test_files_written_row_by_row_are_read_by_pillow(kind, palette):
    image = np.random.default_rng(0).integers(0, 3, (300, 517), dtype=np.uint8)
    file = io.BytesIO()
    writer = ROW_FILES[kind](file, 517, 300, palette)
    for start in range(0, 300, 77):
        writer.write(image[start : start + 77])
    writer.close()
    with Image.open(io.BytesIO(file.getvalue())) as found:
        found.load()
        assert found.mode == ("P" if palette else "L")
        np.testing.assert_array_equal(np.array(found), image)
        if palette:
            np.testing.assert_array_equal(np.array(found.convert("RGB")), np.array(palette, np.uint8)[image])


def detections(*rows):
    boxes, scores, labels = zip(*rows, strict=True)
    return Detections(
        boxes=torch.tensor(boxes, dtype=torch.float32), scores=torch.tensor(scores), labels=torch.tensor(labels)
    )


def test_objects_cut_by_a_windows_edge_are_put_together():
    windows = [Window(0, 0, 100, 100), Window(0, 60, 100, 160)]
    left = detections(([70, 10, 100, 40], 0.9, 1), ([72, 12, 90, 38], 0.5, 1), ([5, 5, 20, 20], 0.8, 0))
    right = detections(([8, 10, 70, 41], 0.7, 1), ([10, 10, 30, 40], 0.6, 0))
    found = merge_windows([left, right], windows)
    assert found["scores"].tolist() == pytest.approx([0.9, 0.8, 0.6, 0.5])
    assert found["boxes"].tolist() == [[68, 10, 130, 41], [5, 5, 20, 20], [70, 10, 90, 40], [72, 12, 90, 38]]
    empty = Detections(boxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.int64))
    assert merge_windows([empty], windows[:1])["boxes"].shape == (0, 4)


def test_ten_thousand_boxes_are_put_together_in_seconds():
    windows = [w for row in rows_of_windows(2000, 2000, 128, 32) for w in row]
    corners = torch.rand(24, 2, generator=torch.Generator().manual_seed(0)) * 90
    boxes = torch.cat([corners, corners + 20], 1)
    many = [Detections(boxes=boxes, scores=torch.rand(24), labels=torch.arange(24) % 3) for _ in windows]
    start = time.process_time()
    merged = merge_windows(many, windows)
    assert time.process_time() - start < 8, "not with each of the others"
    assert len(windows) * 12 < len(merged["scores"]) <= len(windows) * 24
    assert torch.equal(merged["scores"], merged["scores"].sort(descending=True).values)


# With a model


class Strided(nn.Module):
    """A backbone of two levels of convolutions."""

    levels = ((8, 4), (16, 8))

    def __init__(self):
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 8, 7, stride=4, padding=3), nn.Conv2d(8, 16, 3, stride=2, padding=1)

    def forward(self, images, context):
        fine = self.fine(images).relu()
        return SimpleNamespace(levels=(fine, self.coarse(fine).relu()))


def model_of(head, task):
    torch.manual_seed(0)
    backbone = Strided()
    config = PerceptionConfig(task=task, classes=tuple("abcde"), prompt="")
    return PerceptionModel(backbone, head(backbone.levels, 5), config).eval()


def context_of(crops):
    return torch.zeros(len(crops), 1, 1)


@pytest.fixture(scope="module")
def image():
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((150, 101), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def segmenter():
    return model_of(partial(FPNHead, variant="pascal", width=64, inner_width=32), "segmentation")


TILING = Tiling(side=64, overlap=16, batch_size=3, mask="tiff")


def test_the_mask_in_memory_is_that_of_the_file(segmenter, image, tmp_path):
    write_tiled_mask(segmenter, image, context_of, TILING, tmp_path / "a", confidence=True)
    found = tiled_mask(segmenter, image, context_of, TILING, confidence=True)
    with Image.open(tmp_path / "a_mask.tiff") as mask, Image.open(tmp_path / "a_confidence.tiff") as sure:
        np.testing.assert_array_equal(np.array(mask), found.ids)
        np.testing.assert_allclose(np.array(sure) / 255, found.confidence, atol=0.003)
    with Image.open(tmp_path / "a_overlay.png") as overlay:
        assert overlay.size == image.size
    assert len(found.areas) > 1
    whole = segmenter.predict_batch([image], None, 1, torch.zeros(1, 1, 1))[0]
    alone = tiled_mask(segmenter, image, context_of, replace(TILING, side=256))
    assert (alone.ids == whole.ids).float().mean() > 0.99, "one window is the whole image"


def test_logits_that_would_take_too_much_are_kept_in_coarser_cells(segmenter, image, monkeypatch):
    fine = tiled_mask(segmenter, image, context_of, TILING)
    monkeypatch.setattr("tadp_heads.tiling.predict._BAND_BYTES", 4 * 5 * 80 * 150 // 15)  # 4 x 4 pixels to a cell
    monkeypatch.setattr("tadp_heads.tiling.predict._WINDOW_BYTES", 1)
    sizes = []
    segment = tiling_predict.segment_rows
    monkeypatch.setattr(tiling_predict, "segment_rows", lambda *a, **k: sizes.append(k) or segment(*a, **k))
    coarse = tiled_mask(segmenter, image, context_of, TILING)
    assert (sizes[0]["stride"], sizes[0]["batch_size"]) == (4, 1)
    assert coarse.ids.shape == fine.ids.shape
    assert (coarse.ids == fine.ids).float().mean() > 0.9


def test_objects_of_windows_are_those_of_the_image(image):
    model = model_of(partial(FasterRCNNHead, fpn_channels=16, representation_size=24), "detection")
    whole = model.predict_batch([image], None, 1, torch.zeros(1, 1, 1))[0]
    alone = tiled_boxes(model, image, context_of, replace(TILING, side=256))
    assert len(whole.scores)
    torch.testing.assert_close(alone.boxes, whole.boxes)
    torch.testing.assert_close(alone.scores, whole.scores)
    output = []
    many = tiled_boxes(model, image, context_of, TILING, lambda *numbers: output.append(numbers))
    assert output[-1] == (6, 6)
    assert len(many.scores)
    assert many.boxes.min() >= 0
    assert (many.boxes.amax(0) <= torch.tensor([150, 101, 150, 101])).all()


# Georeference

GEOTIFF = {
    33550: (0.5, 0.5, 0.0),
    33922: (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0),
    34735: (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633),
    34737: "WGS 84 / UTM zone 33N|",
}
"""Half a metre a pixel in UTM zone 33 N, upper left corner at 440720 E, 3751320 N."""


def geotiff(path, image, **more):
    tags = ImageFileDirectory_v2()
    for number, value in GEOTIFF.items():
        tags[number] = value
        tags.tagtype[number] = {34735: 3, 34737: 2}.get(number, 12)
    image.save(path, tiffinfo=tags, **more)


def test_a_mask_lies_where_its_image_does(segmenter, image, tmp_path):
    geotiff(tmp_path / "in.tif", image)
    tags = georeference(tmp_path / "in.tif")
    write_tiled_mask(segmenter, image, context_of, TILING, tmp_path / "out", tags=tags, confidence=True)
    for name in ("out_mask.tiff", "out_confidence.tiff"):
        with Image.open(tmp_path / name) as file:
            assert {number: file.tag_v2[number] for number in GEOTIFF} == GEOTIFF
    image.save(tmp_path / "plain.png")
    assert georeference(tmp_path / "plain.png") == {}


def test_gis_reads_where_the_mask_lies(segmenter, image, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    geotiff(tmp_path / "in.tif", image)
    tags = georeference(tmp_path / "in.tif")
    write_tiled_mask(segmenter, image, context_of, TILING, tmp_path / "out", tags=tags)
    with rasterio.open(tmp_path / "in.tif") as before, rasterio.open(tmp_path / "out_mask.tiff") as after:
        assert after.crs == before.crs
        assert after.crs.to_epsg() == 32633
        assert after.transform == before.transform
        assert (after.transform.a, after.transform.c, after.transform.f) == (0.5, 440720, 3751320)
        assert after.block_shapes == [(256, 256)]


def test_every_window_is_in_one_row():
    rows = rows_of_windows(150, 90, 64, 16)
    assert [len(row) for row in rows] == [2, 2, 2]
    assert rows[-1][-1] == Window(86, 26, 150, 90)
