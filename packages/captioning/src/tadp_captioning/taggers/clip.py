"""Which classes CLIP finds in an image, without being trained on any of them (Radford et al. 2021)."""

# B images, K classes, D width of the common space

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tadp_captioning._read_errors import check_sizes, reading

if TYPE_CHECKING:
    from torch import Tensor

TEMPLATE = "a photo of a {}."
WITHOUT = "a photo."
"""What a class's sentence is weighed against: the same without the class."""


class ClipTagger:
    """Zero-shot tagging: for each class alone, whether the image is nearer to a sentence with it or without it."""

    def __init__(self, model: Any, processor: Any, names: Sequence[str]):
        """`model`, `processor`: transformers' CLIPModel and CLIPProcessor."""
        self.model, self.processor, self.names = model.eval(), processor, tuple(names)
        self._sentences = self._encoded([WITHOUT, *(TEMPLATE.format(name) for name in self.names)])

    @classmethod
    def from_pretrained(cls, source: str | Path, names: Sequence[str], device: str = "cpu") -> Self:
        """`source`: a hub id such as openai/clip-vit-large-patch14, or a folder of model and processor."""
        from transformers import CLIPConfig, CLIPModel, CLIPProcessor

        with reading(source, "use a complete CLIP model that transformers wrote, its weights as .safetensors"):
            check_sizes(CLIPConfig.from_pretrained(source).to_dict(), "config.json")
            model = CLIPModel.from_pretrained(source, use_safetensors=True).to(device)
            processor = CLIPProcessor.from_pretrained(source)
        return cls(model, processor, names)

    def probabilities(self, images: "Tensor | Sequence[Any]") -> "Tensor":
        """uint8 images (B, 3, H, W) or PIL images -> (B, K) in [0, 1], on the CPU."""
        import torch

        pixels = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            encoded = _unit(self.model.get_image_features(pixel_values=pixels.to(self.model.device)))
        logits = (encoded @ self._sentences.T) * self.model.logit_scale.exp()  # (B, 1 + K)
        return (logits[:, 1:] - logits[:, :1]).sigmoid().cpu()

    def _encoded(self, sentences: list[str]) -> "Tensor":
        """(1 + K, D), of unit length."""
        import torch

        tokens = self.processor(text=sentences, return_tensors="pt", padding=True, truncation=True)
        with torch.no_grad():
            return _unit(self.model.get_text_features(**tokens.to(self.model.device)))


def _unit(features: Any) -> "Tensor":
    # transformers 5 returns an output object where transformers 4 returned the tensor.
    tensor = getattr(features, "pooler_output", features)
    return tensor / tensor.norm(dim=-1, keepdim=True)
