"""Segmentation data sets from files on disk; each malformed file gives its one clear line."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import tv_tensors

from tadp_heads.data.check.dataset import sample_sheet
from tadp_heads.data.check.folder import check_folder
from tadp_heads.data.errors import DataError
from tadp_heads.data.readers.ade20k import ADE20K
from tadp_heads.data.readers.driving import CITYSCAPES_CLASSES, CITYSCAPES_PALETTE, DrivingSegmentation
from tadp_heads.data.readers.segmentation_folder import SegmentationFolder
from tadp_heads.data.readers.user_folder import folder_tasks, open_folder
from tadp_heads.data.readers.voc_segmentation import VOCSegmentation
from tadp_heads.data.transforms import scale_saturation
from tadp_heads.segmentation.transforms import TRAIN_TRANSFORMS
from tadp_heads.tasks import train_transform


def save_image(path, width=24, height=16, mode="RGB", value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = len(Image.new(mode, (1, 1)).getbands())
    Image.new(mode, (width, height), value if bands == 1 else (value, 10, 200, 255)[:bands]).save(path)


def save_mask(path, values, width=24, height=16):
    """Columns of equal width, one a value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = np.repeat(np.array(values, dtype=np.uint8), width // len(values))
    Image.fromarray(np.tile(row, (height, 1))).save(path)


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "sub/c"):
        save_image(tmp_path / "images" / f"{name}.jpg")
        save_mask(tmp_path / "masks" / f"{name}.png", [0, 1, 2, 9])
    (tmp_path / "classes.txt").write_text("sky\nroad\ntraffic light\n")
    (tmp_path / "train.txt").write_text("a\nsub/c\n")
    (tmp_path / "val.txt").write_text("b\n")
    return tmp_path


def test_reading_a_users_folder(folder):
    train, everything = SegmentationFolder(folder, "train"), SegmentationFolder(folder)
    assert (train.ids, everything.ids) == (("a", "sub/c"), ("a", "b", "sub/c"))
    image, mask, name = train[1]
    assert name == "sub/c"
    assert isinstance(image, tv_tensors.Image)
    assert image.dtype == torch.uint8
    assert image.shape == (3, 16, 24)
    assert isinstance(mask, tv_tensors.Mask)
    assert mask.dtype == torch.int64
    assert mask[0].unique_consecutive().tolist() == [0, 1, 2, 255]
    assert train.classes == ("sky", "road", "traffic light")
    assert len(train.palette) == len(set(train.palette)) == 3


def test_check_of_a_good_folder(folder):
    (report,) = check_folder(folder)
    assert report.ok
    assert report.images == 3
    assert report.sizes == {(24, 16): 3}
    assert report.histogram == dict.fromkeys(("sky", "road", "traffic light"), 3 * 6 * 16)
    assert "ignored: 9 (25.0% of the pixels)" in report.warnings[0]
    assert sample_sheet(SegmentationFolder(folder)).size == (1024, 256 + 18 + 26)  # a row, its titles, the legend


def rewrite(name, text):
    return lambda root: (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def truncate(root):
    path = root / "images" / "a.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:-200])


MALFORMED = {
    "mask of another size": (
        lambda r: save_mask(r / "masks/a.png", [0, 1], 12, 8),
        "found 12x8 pixels, expected 24x16",
    ),
    "mask missing": (lambda r: (r / "masks/a.png").unlink(), "no mask"),
    "mask in colour": (lambda r: save_image(r / "masks/a.png"), "mode RGB, expected one byte per pixel"),
    "mask of 16 bits": (lambda r: save_image(r / "masks/a.png", mode="I;16"), "mode I;16"),
    "mask of one bit": (lambda r: save_image(r / "masks/a.png", mode="1"), "mode 1"),
    "mask with transparency": (lambda r: save_image(r / "masks/a.png", mode="RGBA"), "mode RGBA"),
    "mask as JPEG": (
        lambda r: ((r / "masks/a.png").unlink(), save_image(r / "masks/a.jpg", mode="L")),
        "JPEG changes the class ids",
    ),
    "image that is text": (rewrite("images/a.jpg", "hello"), "no image data"),
    "image that is empty": (rewrite("images/a.jpg", b""), "no image data"),
    "image cut short": (truncate, "a broken image"),
    "image of 16 bits": (
        lambda r: ((r / "images/a.jpg").unlink(), save_image(r / "images/a.png", mode="I;16")),
        "8 bits per channel",
    ),
    "two images of one id": (lambda r: save_image(r / "images/a.png"), "the same id as a.jpg"),
    "no image": (
        lambda r: [p.unlink() for p in (r / "images").rglob("*.jpg")],
        "found no image, expected JPEG or PNG files",
    ),
    "no folder of images": (lambda r: (r / "images").rename(r / "pictures"), "images: found no folder"),
    "no classes.txt": (lambda r: (r / "classes.txt").unlink(), "classes.txt: found no file"),
    "classes.txt empty": (rewrite("classes.txt", "\n\n"), "an empty file"),
    "class named twice": (rewrite("classes.txt", "sky\nroad\nsky\n"), "'sky' more than once"),
    "classes.txt in another coding": (rewrite("classes.txt", b"\xff\xfes\x00k\x00"), "not UTF-8"),
    "too many classes": (rewrite("classes.txt", "\n".join(map(str, range(256)))), "256 classes, expected at most 255"),
    "unknown id in a split": (rewrite("train.txt", "a\nz\n"), "'z' and 0 more without an image"),
    "id twice in a split": (rewrite("train.txt", "a\na\n"), "'a' more than once"),
    "split empty": (rewrite("train.txt", ""), "an empty file"),
}


def read_all(root):
    dataset = SegmentationFolder(root, "train")
    return [dataset[i] for i in range(len(dataset))]


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_files(folder, kind):
    spoil, message = MALFORMED[kind]
    spoil(folder)
    with pytest.raises(DataError) as caught:
        read_all(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    problems = check_folder(folder)[0].problems
    assert any(message in line for line in problems)


def test_what_only_the_check_finds(folder):
    save_image(folder / "images" / "lonely.jpg")
    save_mask(folder / "masks" / "widow.png", [0, 1])
    save_mask(folder / "masks" / "b.png", [77, 78])
    (folder / "val.txt").write_text("b\na\n")
    (folder / "classes.txt").write_text("sky\nroad\ntraffic light\nunicorn\n")
    (report,) = check_folder(folder)
    text = "\n".join(report.problems)
    assert not report.ok
    for unlisted in ("lonely.jpg: found no mask of its name", "widow.png: found no image of its name"):
        assert any(unlisted in line for line in report.warnings), "which no reader opens"
        assert unlisted not in text
    assert "no pixel of any class (ids [77, 78])" in text
    assert "1 ids that are also in val.txt, such as 'a'" in text
    assert any("never occur: unicorn" in line for line in report.warnings)


def test_folders_of_no_or_another_task(tmp_path, folder):
    assert folder_tasks(folder) == ("segmentation",)
    with pytest.raises(DataError, match="expected those for depth"):
        open_folder(folder, "depth")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="none of the layouts"):
        open_folder(tmp_path / "bare")
    with pytest.raises(DataError, match="one of the splits train, val"):
        open_folder(folder, split="test")


def test_errors_reach_the_caller_from_workers(folder):
    save_mask(folder / "masks" / "a.png", [0, 1], 12, 8)
    with pytest.raises(DataError, match="found 12x8 pixels") as caught:
        list(DataLoader(SegmentationFolder(folder), num_workers=1, collate_fn=list))
    assert "\n" not in str(caught.value)


def test_voc(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    save_image(root / "JPEGImages" / "2007_000032.jpg")
    mask = Image.fromarray(np.tile(np.repeat(np.array([0, 1, 20, 255], np.uint8), 6), (16, 1)))
    mask.putpalette([0, 0, 0, 128, 0, 0] + [9] * 762)
    for name in ("SegmentationClass", "SegmentationClassAug"):
        (root / name).mkdir()
        mask.save(root / name / "2007_000032.png")
    splits = root / "ImageSets" / "Segmentation"
    splits.mkdir(parents=True)
    (splits / "val.txt").write_text("2007_000032\n")
    (splits / "trainaug.txt").write_text("/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png\n")
    for where, split in ((tmp_path, "val"), (root, "val"), (root, "trainaug")):
        dataset = VOCSegmentation(where, split)
        assert dataset.ids == ("2007_000032",)
        assert dataset[0].target[0].unique_consecutive().tolist() == [0, 1, 20, 255]
    assert (len(dataset.classes), dataset.classes[20], dataset.palette[1]) == (21, "tvmonitor", (128, 0, 0))
    with pytest.raises(DataError, match="one of trainaug, val"):
        VOCSegmentation(root, "test")


def test_voc_trainaug_as_mmsegmentations_script_leaves_it(tmp_path):
    """SBD's masks alone are in SegmentationClassAug: those of VOC's own training images were missed."""
    names = {"2007_000032": ("SegmentationClass", 1), "2008_000008": ("SegmentationClassAug", 13)}
    for name, (folder, label) in names.items():
        save_image(tmp_path / "VOC2012" / "JPEGImages" / f"{name}.jpg")
        save_mask(tmp_path / "VOC2012" / folder / f"{name}.png", [label])
    save_mask(tmp_path / "VOC2012" / "SegmentationClass" / "2008_000008.png", [2])
    splits = tmp_path / "VOC2012" / "ImageSets" / "Segmentation"
    splits.mkdir(parents=True)
    (splits / "trainaug.txt").write_text("2008_000008\n2007_000032\n2009_000001\n")
    dataset = VOCSegmentation(tmp_path, "trainaug")
    assert [int(dataset[index].target.unique()) for index in range(2)] == [13, 1]
    save_image(tmp_path / "VOC2012" / "JPEGImages" / "2009_000001.jpg")
    with pytest.raises(DataError, match=r"SegmentationClassAug/2009_000001\.png: found no file"):
        dataset[2]


def test_ade20k(tmp_path):
    root = tmp_path / "ADEChallengeData2016"
    save_image(root / "images" / "validation" / "ADE_val_00000001.jpg")
    save_mask(root / "annotations" / "validation" / "ADE_val_00000001.png", [0, 1, 150])
    lines = ["Idx\tRatio\tTrain\tVal\tName"] + [f"{i}\t0.1\t{i}\t2\tthing {i}, synonym" for i in range(1, 151)]
    (root / "objectInfo150.txt").write_text("\n".join(lines))
    dataset = ADE20K(tmp_path, "val")
    assert dataset.classes[149] == "thing 150"
    assert dataset[0].target[0].unique_consecutive().tolist() == [255, 0, 149]
    (root / "objectInfo150.txt").write_text("\n".join(lines[:100]))
    with pytest.raises(DataError, match="99 lines of classes"):
        ADE20K(root, "val")


@pytest.mark.parametrize(
    ("name", "split", "image", "label"),
    [
        ("cityscapes", "val", "leftImg8bit/val/ulm/u_1_leftImg8bit", "gtFine/val/ulm/u_1_gtFine_label"),
        ("dark-zurich", "val", "rgb_anon/val/night/G/f_1_rgb_anon", "gt/val/night/G/f_1_gt_label"),
        (
            "nighttime-driving",
            "test",
            "leftImg8bit/test/night/0_leftImg8bit",
            "gtCoarse_daytime_trainvaltest/test/night/0_gtCoarse_label",
        ),
        ("acdc", "fog/train", "rgb_anon/fog/train/G/f_1_rgb_anon", "gt/fog/train/G/f_1_gt_label"),
    ],
)
def test_driving(tmp_path, name, split, image, label):
    save_image(tmp_path / f"{image}.png")
    save_mask(tmp_path / f"{label}Ids.png", [7, 33, 0, 4])
    by_table = DrivingSegmentation(name, tmp_path, split)
    assert by_table[0].target[0].unique_consecutive().tolist() == [0, 18, 255]
    save_mask(tmp_path / f"{label}TrainIds.png", [18, 0, 255])
    ready = DrivingSegmentation(name, tmp_path, split)
    assert ready[0].target[0].unique_consecutive().tolist() == [18, 0, 255]
    assert ready.ids[0] in image
    with pytest.raises(ValueError, match="has no labels"):
        DrivingSegmentation(name, tmp_path, "nowhere")


def test_cityscapes_classes():
    assert (CITYSCAPES_CLASSES[0], CITYSCAPES_CLASSES[13], CITYSCAPES_CLASSES[18]) == ("road", "car", "bicycle")
    assert (len(CITYSCAPES_CLASSES), CITYSCAPES_PALETTE[0]) == (19, (128, 64, 128))


@pytest.mark.parametrize("name", TRAIN_TRANSFORMS)
@pytest.mark.parametrize("size", [(40, 60), (16, 200)])
def test_transforms_move_the_mask_with_the_image(name, size):
    """The image is painted by its mask, so that after any geometry the two must still agree."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(0, 2, (size[0] // 8, size[1] // 8), generator=generator)
    mask = mask.repeat_interleave(8, 0).repeat_interleave(8, 1)
    image = tv_tensors.Image((mask * 200 + 28).to(torch.uint8).expand(3, -1, -1).clone())
    transform = train_transform("segmentation", name, 32)
    for seed in range(4):
        torch.manual_seed(seed)
        out, target = transform(image, tv_tensors.Mask(mask))
        torch.manual_seed(seed)
        again, _ = transform(image, tv_tensors.Mask(mask))
        assert torch.equal(out, again)
        assert (out.shape, target.shape) == ((3, 32, 32), (32, 32))
        assert (out.dtype, target.dtype) == (torch.uint8, torch.int64)
        bright, valid = out.float().mean(0), target != 255
        low, high = bright[valid & (target == 0)], bright[valid & (target == 1)]
        if len(low) and len(high):
            assert low.median() + 30 < high.median()


def test_saturation_keeps_hue_and_value():
    pixels = torch.tensor([[200.0, 90.0], [100.0, 90.0], [50.0, 90.0]])[:, None]  # an orange and a grey
    half, double = scale_saturation(pixels, 0.5), scale_saturation(pixels, 2.0)
    torch.testing.assert_close(half[:, 0, 0], torch.tensor([200.0, 150.0, 125.0]))
    torch.testing.assert_close(double[:, 0, 0], torch.tensor([200.0, 66.6667, 0.0]))  # S stops at 1
    torch.testing.assert_close(double[:, 0, 1], torch.full((3,), 90.0))


def test_the_real_driving_frames(shared_data):
    root = shared_data / "camvid"
    if not root.is_dir():
        pytest.skip("no driving frames there")
    dataset = open_folder(root, split="dusk_test")
    assert len(dataset) == 40
    image, mask, _ = dataset[0]
    assert image.shape[1:] == mask.shape == (360, 480)
    assert set(mask.unique().tolist()) <= {*range(11), 255}
