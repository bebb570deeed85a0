"""Training transforms of the paper's segmentation data sets, over tv_tensors (docs/reference.md, section 5)."""

from collections.abc import Callable

from torchvision.transforms import v2

from tadp_heads.data.transforms import (
    CategoryCrop,
    HSVJitter,
    PadTo,
    PhotometricDistortion,
    RandomFit,
    RandomScale,
    flip_train,
)


def ade_train(size: int) -> v2.Transform:
    """ade20k_vpd.py:11-22, there with size 512."""
    return _cropped(RandomFit(4 * size, size, ratio=(0.5, 2.0)), size)


def cityscapes_train(size: int) -> v2.Transform:
    """cityscapes_to_darkzurich_512x512.py, there with size 512: images of 1280x720 at most."""
    return _cropped(RandomFit(size * 5 // 2, size * 45 // 32), size)


def pascal_train(size: int) -> v2.Transform:
    """VOC_config.py:15-28, there with size 512: the crop is squashed to a square when the image is smaller than it."""
    return v2.Compose(
        [
            HSVJitter(),
            v2.RandomHorizontalFlip(0.5),
            RandomScale(0.5, 2.0),
            CategoryCrop(size, max_ratio=1.0, tries=1),
            v2.Resize((size, size), antialias=False),
        ]
    )


def user_train(size: int) -> v2.Transform:
    """For data that nothing is known about: scales of 0.75 to 1.5 around `size` as shorter side, crops and flips."""
    return v2.Compose(
        [
            RandomFit(4 * size, size, ratio=(0.75, 1.5)),
            CategoryCrop(size),
            v2.RandomHorizontalFlip(0.5),
            PadTo((size, size)),
        ]
    )


def _cropped(fit: RandomFit, size: int) -> v2.Transform:
    """Scaled by `fit`, then what mmsegmentation's configs of both data sets do."""
    flip = v2.RandomHorizontalFlip(0.5)
    return v2.Compose([fit, CategoryCrop(size), flip, PhotometricDistortion(), PadTo((size, size))])


TRAIN_TRANSFORMS: dict[str, Callable[[int], v2.Transform]] = {
    "user": user_train,
    "flip": flip_train,
    "ade": ade_train,
    "cityscapes": cityscapes_train,
    "pascal": pascal_train,
}
"""Each: size -> a transform of (image, mask) to a square of `size` pixels."""
