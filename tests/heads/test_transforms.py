"""Training transforms of depth and detection: targets move with the image, any sizes make a batch."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors

from tadp_heads.data.sample import Sample, SampleDataset
from tadp_heads.data.transforms import (
    BrightnessContrast,
    HSVJitter,
    HueSaturationValue,
    RandomCrop,
    RandomGamma,
    shift_value,
)
from tadp_heads.depth.transforms import CutDepth
from tadp_heads.detection.transforms import DropCutBoxes
from tadp_heads.registry import TASKS, get_task
from tadp_heads.tasks import train_transform

SIZES = [(40, 60), (16, 200), (90, 31)]


def ramp(height, width):
    """An image whose red encodes the depth in units of 20 levels a metre."""
    depth = torch.linspace(1, 9, width).expand(height, width).contiguous()
    red = (depth * 20).round()
    image = torch.stack([red, torch.full_like(red, 90), torch.full_like(red, 140)]).to(torch.uint8)
    return tv_tensors.Image(image), tv_tensors.Mask(depth)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["user", "flip"])
def test_depth_moves_with_the_image(name, size):
    for seed in range(3):
        torch.manual_seed(seed)
        image, depth = train_transform("depth", name, 32)(*ramp(*size))
        assert (image.shape, depth.shape, depth.dtype) == ((3, 32, 32), (32, 32), torch.float32)
        valid = depth > 0  # padding has no depth
        step = 8 / size[1] * max(1.0, size[1] / 32)  # metres from one pixel to the next
        assert (image[0].float() / 20 - depth)[valid].abs().max() <= 1.5 * step + 0.05
        assert valid.any()


def test_cut_depth_paints_one_strip_of_millimetres_modulo_256():
    image, depth = ramp(12, 50)
    painted = 0
    for seed in range(40):
        torch.manual_seed(seed)
        out, same = CutDepth()(image, depth)
        assert torch.equal(same, depth)
        changed = (out != image).any(0).any(0)
        if changed.any():
            painted += 1
            columns = changed.nonzero().flatten()
            first, last = int(columns[0]), int(columns[-1]) + 1
            strip = torch.from_numpy(np.rint(depth[:, first:last].numpy() * 1000).astype(np.int64).astype(np.uint8))
            assert all(torch.equal(out[channel, :, first:last], strip) for channel in range(3))
            assert torch.equal(out[:, :, :first], image[:, :, :first])
    assert 3 <= painted <= 20  # 40 samples with a chance of one in four


@pytest.mark.parametrize("make", [HSVJitter, HueSaturationValue, BrightnessContrast, RandomGamma])
def test_colours_change_within_the_stated_range_and_masks_do_not(make):
    image, depth = ramp(8, 30)
    seen = []
    for seed in range(12):
        torch.manual_seed(seed)
        out, same = make()(image, depth)
        assert torch.equal(same, depth)
        assert isinstance(out, tv_tensors.Image)
        seen.append(out.float() - image.float())
    assert len({float(change.sum()) for change in seen}) > 6
    assert max(float(change.abs().max()) for change in seen) <= 0.2 * 255 + 0.2 * 180 + 1


def test_value_is_the_largest_channel():
    pixels = torch.tensor([200.0, 100.0, 50.0])[:, None, None]
    torch.testing.assert_close(shift_value(pixels, 20.0), pixels * 220 / 200)
    torch.testing.assert_close(shift_value(pixels, 90.0), pixels * 255 / 200)


def boxed(height, width):
    """A dark image with one bright rectangle, which is the box."""
    image = torch.full((3, height, width), 10, dtype=torch.uint8)
    left, top, right, bottom = width // 4, height // 4, width * 3 // 4, height * 3 // 4
    image[:, top:bottom, left:right] = 250
    box = torch.tensor([[left, top, right, bottom]], dtype=torch.float32)
    target = {
        "boxes": tv_tensors.BoundingBoxes(box, format="XYXY", canvas_size=(height, width)),
        "labels": torch.tensor([3]),
        "difficult": torch.tensor([True]),
    }
    return tv_tensors.Image(image), target


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["user", "flip", "squash"])
def test_boxes_move_with_the_image(name, size):
    kept = 0
    for seed in range(8):
        torch.manual_seed(seed)
        image, target = train_transform("detection", name, 64)(*boxed(*size))
        assert image.shape == (3, 64, 64)
        assert target["boxes"].canvas_size == (64, 64)
        count = len(target["boxes"])
        assert target["labels"].tolist() == [3] * count
        assert target["difficult"].tolist() == [True] * count
        bright = image[0] > 200
        if not count:
            assert bright.float().mean() < 0.25
            continue
        kept += 1
        rows, columns = bright.any(1).nonzero().flatten(), bright.any(0).nonzero().flatten()
        seen = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=torch.float32)
        assert (target["boxes"][0] - seen).abs().max() <= 2
    assert kept


def test_a_box_of_which_little_is_left_is_dropped():
    image, target = boxed(40, 400)
    target["boxes"] = tv_tensors.BoundingBoxes(
        torch.tensor([[0, 0, 400, 40.0], [0, 0, 20, 40]]), format="XYXY", canvas_size=(40, 400)
    )
    target["labels"], target["difficult"] = torch.tensor([0, 1]), torch.tensor([False, False])
    for seed in range(10):
        torch.manual_seed(seed)
        kept = DropCutBoxes(RandomCrop((40, 80)))(image, target)[1]
        assert 0 not in kept["labels"].tolist()  # the crop holds a fifth of it
        assert (kept["boxes"] >= 0).all()


class Repeated(SampleDataset):
    """Samples of each size in turn, the second half of them equal to the first."""

    def __init__(self, task, transform):
        self.task = task
        super().__init__([str(i) for i in range(2 * len(SIZES))], (), transform=transform)

    def read(self, sample_id):
        size = SIZES[int(sample_id) % len(SIZES)]
        image, depth = ramp(*size)
        target = {"depth": depth, "segmentation": tv_tensors.Mask((depth > 4).long()), "detection": boxed(*size)[1]}
        return Sample(image, target[self.task], sample_id)


ALL_TRANSFORMS = [(task, name) for task in TASKS for name in get_task(task).train_transforms]


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a machine of one core
@pytest.mark.parametrize(("task", "name"), [pair for pair in ALL_TRANSFORMS if pair != ("detection", "squash")])
def test_images_of_different_sizes_make_a_batch_and_workers_are_seeded(task, name):
    """Two workers, each with one half: no draw comes from anywhere but the seed, and none is the other worker's."""

    def epoch(seed):
        torch.manual_seed(seed)
        data = Repeated(task, train_transform(task, name, 32))
        batches = DataLoader(data, batch_size=len(SIZES), num_workers=2, collate_fn=list)
        return torch.stack([sample.image.as_subclass(torch.Tensor) for batch in batches for sample in batch])

    once, again, others = epoch(0), epoch(0), [epoch(1)]
    assert once.shape == (2 * len(SIZES), 3, 32, 32)
    assert torch.equal(once, again)
    assert any(not torch.equal(once, other) for other in others)
    halves = [images.split(len(SIZES)) for images in (once, *others)]
    assert any(not torch.equal(first, second) for first, second in halves)


@pytest.mark.parametrize("task", TASKS)
def test_wrong_names_and_sizes(task):
    assert next(iter(get_task(task).train_transforms)) == "user"
    with pytest.raises(ValueError, match=f"unknown {task} transform 'magic'; choose from user"):
        train_transform(task, "magic", 32)
    with pytest.raises(ValueError, match="a training size of 0"):
        train_transform(task, "user", 0)
