"""Between tensors and pictures, for the analyses' figures."""

from PIL import Image
from torch import Tensor

from tadp_heads.data import SampleDataset
from tadp_heads.tasks import get_task


def to_pil(image: Tensor) -> Image.Image:
    """(3, H, W) uint8 -> RGB."""
    return Image.fromarray(image.as_subclass(Tensor).permute(1, 2, 0).cpu().numpy())


def with_mask(image: Image.Image, ids: Tensor, dataset: SampleDataset) -> Image.Image:
    """The image under the colours of the classes, ids (H, W)."""
    task = get_task("segmentation")
    return task.result(image, ids.as_subclass(Tensor), dataset.classes, dataset.palette).overlay()
