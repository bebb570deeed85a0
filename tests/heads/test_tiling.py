"""Large images in windows: the pixels of a window, rows that are the image, boxes that are put together."""

import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from tadp_heads.detection.detections import Detections
from tadp_heads.tiling.boxes import merge_windows
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


def test_every_window_is_in_one_row():
    rows = rows_of_windows(150, 90, 64, 16)
    assert [len(row) for row in rows] == [2, 2, 2]
    assert rows[-1][-1] == Window(86, 26, 150, 90)
