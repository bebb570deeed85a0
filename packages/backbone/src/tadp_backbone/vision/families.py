"""The families of vision transformers, as transformers' own classes have them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Mean and standard deviation of pixels in [0, 1]."""


def _none(config: Any) -> int:
    return 0


def _class_token(config: Any) -> int:
    return 1


def _registers(config: Any) -> int:
    return 1 + config.num_register_tokens


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where a family's classes have what the adapter reads."""

    config: str
    model: str
    """Names of transformers' classes."""
    blocks: str
    """Path of the list of blocks in the image tower."""
    norm: str
    """Path of the last norm in the image tower."""
    prefix: Callable[[Any], int]
    """Tokens before those of the patches: the class token and the registers, by the image tower's config."""
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]
    """Mean and standard deviation of pixels in [0, 1] with which the family was trained."""
    two_towers: bool = False
    """Whether the model has a text tower as well as an image tower."""
    patches: bool = False
    """Whether the image tower takes a row of flattened patches in place of an image (NaFlex)."""
    interpolates: bool = False
    """Whether positions are fitted to the image's size only when asked."""

    def build(self, config: "PretrainedConfig") -> "PreTrainedModel":
        """The model with random weights."""
        import transformers

        return getattr(transformers, self.model)(config)


def _dino(config: str, model: str, blocks: str, norm: str, prefix: Callable[[Any], int]) -> Family:
    return Family(config=config, model=model, blocks=blocks, norm=norm, prefix=prefix, normalisation=IMAGENET)


def _contrastive(name: str, prefix: Callable[[Any], int], normalisation: Any, patches: bool) -> dict[str, Family]:
    common = {
        "blocks": "encoder.layers",
        "norm": "post_layernorm",
        "prefix": prefix,
        "normalisation": normalisation,
        "patches": patches,
        "interpolates": not patches,
    }
    kind, vision = name.lower(), f"{name}Vision"
    return {
        kind: Family(config=f"{name}Config", model=f"{name}Model", two_towers=True, **common),
        f"{kind}_vision_model": Family(config=f"{vision}Config", model=f"{vision}Model", **common),
    }


FAMILIES: dict[str, Family] = {
    "dinov2": _dino("Dinov2Config", "Dinov2Model", "encoder.layer", "layernorm", _class_token),
    "dinov2_with_registers": _dino(
        "Dinov2WithRegistersConfig", "Dinov2WithRegistersModel", "encoder.layer", "layernorm", _registers
    ),
    "dinov3_vit": _dino("DINOv3ViTConfig", "DINOv3ViTModel", "model.layer", "norm", _registers),
    **_contrastive("CLIP", _class_token, CLIP, patches=False),
    # SigLIP 2's checkpoints of one resolution are of SigLIP's classes; NaFlex has classes of its own.
    **_contrastive("Siglip", _none, HALF, patches=False),
    **_contrastive("Siglip2", _none, HALF, patches=True),
}
"""{model_type of config.json: family}."""


def family_of(config: "PretrainedConfig") -> Family:
    """Of a model's config; ValueError for another kind of model."""
    if config.model_type not in FAMILIES:
        raise ValueError(f"no vision transformer of the model_type {config.model_type!r}: {supported()}")
    return FAMILIES[config.model_type]


def supported() -> str:
    """What is said where another model is given."""
    return f"expected one of {', '.join(FAMILIES)}"
