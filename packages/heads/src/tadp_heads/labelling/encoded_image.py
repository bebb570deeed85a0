"""Predictions of one image under many texts: the image is encoded once."""

from collections import OrderedDict
from collections.abc import Hashable

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from tadp_heads import PerceptionModel
from tadp_heads.preprocessing import RANGES, pad_to_multiple
from tadp_heads.results import Result
from tadp_heads.segmentation import SegmentationProtocol
from tadp_heads.segmentation.output import ConfidentIds

# K classes, H W image pixels, h w latent cells, T tokens, D width of the context.

_WHOLE = SegmentationProtocol()
"""One pass over the image, which is what cached latents are of."""


class EncodedImage:
    """An image in the frame in which a segmentation model predicts it, and its latents."""

    @torch.no_grad()
    def __init__(self, model: PerceptionModel, image: Image.Image):
        if model.config.task != "segmentation":
            raise ValueError(f"a run for {model.config.task}: masks under several texts need one for segmentation")
        if not hasattr(model.backbone, "encode_image"):
            raise ValueError("the run's backbone has no latents: masks under several texts need a diffusion model")
        self.model = model
        self.image = image.convert("RGB")
        pixels = pil_to_tensor(self.image)[None].to(model.device)
        self.normalised = RANGES[model.config.image_range](pixels)  # (1, 3, H, W)
        padded = pad_to_multiple(self.normalised, model.size_multiple)
        self.latents = model.backbone.encode_image(padded)  # (1, 4, h, w)

    @torch.no_grad()
    def probabilities(self, context: Tensor) -> Tensor:
        """Contexts (B, T, D) -> (B, K, H, W), one UNet pass each."""
        task, found = self.model.task, []
        for one in context.to(self.model.device).split(1):
            features = self.model.backbone.extract(self.latents, one)
            found.append(task.probabilities(self.model.head, lambda _, f=features: f.levels, self.normalised, _WHOLE))
        return torch.cat(found)

    @torch.no_grad()
    def features(self, context: Tensor) -> Tensor:
        """(C,): the coarsest level under one context (1, T, D), averaged over the image."""
        levels = self.model.backbone.extract(self.latents, context.to(self.model.device)).levels
        return levels[-1].mean((2, 3))[0]

    def result(self, context: Tensor) -> Result:
        """What the model predicts under one context (1, T, D), with the confidence of each pixel."""
        confidence, ids = self.probabilities(context)[0].max(0)
        config = self.model.config
        found = ConfidentIds(ids.cpu(), confidence.float().cpu())
        return self.model.task.result(self.image, found, config.classes, config.palette)


class LatentCache:
    """The last images that were encoded, by id."""

    def __init__(self, model: PerceptionModel, size: int = 8):
        self.model, self.size = model, size
        self._kept: OrderedDict[Hashable, EncodedImage] = OrderedDict()

    def get(self, key: Hashable, image: Image.Image) -> EncodedImage:
        """Encoded now, unless it is among the last."""
        if key not in self._kept:
            self._kept[key] = EncodedImage(self.model, image)
        self._kept.move_to_end(key)
        while len(self._kept) > self.size:
            self._kept.popitem(last=False)
        return self._kept[key]
