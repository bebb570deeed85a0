"""A published checkpoint of the paper's public code -> a run folder (key names: docs/reference.md, sections 0 to 3)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

from tadp_backbone import BackboneConfig, DiffusionBackbone
from tadp_backbone.ldm import read_checkpoint, unet_from_ldm, vae_from_ldm
from tadp_backbone.ldm.checkpoint import looks_like, read_pickle, under
from tadp_cli.config.recipe import BackboneSection, PromptConfig, Recipe
from tadp_cli.prompts.authors import with_author
from tadp_cli.run.run import Run
from tadp_heads import PerceptionModel
from tadp_heads.data.class_names import default_prompt_names
from tadp_heads.data.files import read_lines
from tadp_heads.data.readers.ade20k import read_object_names
from tadp_heads.data.readers.driving import CITYSCAPES_CLASSES, CITYSCAPES_PALETTE
from tadp_heads.data.readers.voc_detection import VOC_CLASSES, voc_prompt_names
from tadp_heads.data.sample import Color
from tadp_heads.depth import DepthHead
from tadp_heads.detection import FasterRCNNHead
from tadp_heads.model import PerceptionConfig
from tadp_heads.pretrained import PretrainedHead
from tadp_heads.segmentation import FPNHead
from tadp_heads.segmentation.head import VARIANTS

UNET, VAE = "diffusion_model.input_blocks.0.0.weight", "quant_conv.weight"
ADAPTER, CLASS_EMBEDDINGS = "text_adapter.fc.0.weight", "class_embeddings"
HEADS = {
    "last_layer_depth.0.weight": "depth",
    "lateral_convs.0.conv.weight": "ade",
    "p5.weight": "pascal",
    "box_head.fc6.weight": "detection",
}
"""{end of a key: the head that has it}."""
_WRAPPERS = ("state_dict", "model")
"""Names under which training frameworks put the tensors."""
_IMAGENET_LIMIT = 2.7


@dataclass(frozen=True, kw_only=True)
class _Classes:
    names: tuple[str, ...]
    palette: tuple[Color, ...] = ()
    protocol: str = ""
    image_range: str = "sd"

    @property
    def prompt_names(self) -> tuple[str, ...]:
        """Each class as prompts name it."""
        voc = self.names[-len(VOC_CLASSES) :] == VOC_CLASSES
        return voc_prompt_names(self.names) if voc else default_prompt_names(self.names)


def convert(
    file: Path,
    out: Path,
    *,
    base: str,
    classes: Path | None = None,
    num_heads: int | None = None,
    latent_scale: float | None = None,
    max_depth_m: float = 10.0,
) -> dict[str, str]:
    """Writes the run and tells what was found in the file.

    The text encoder was frozen in training, so that it and the tokenizer are those of `base`, as is a VAE that the file
    leaves out.
    """
    state = read_published(file)
    variant = _variant(state, file)
    unet = unet_from_ldm(under(state, _prefix(state, UNET, file) + "diffusion_model."), num_heads)
    frozen = DiffusionBackbone.from_pretrained(base)
    vae = _vae(state) or frozen.vae
    plain = DiffusionBackbone(unet=unet, vae=vae, config=BackboneConfig(map_strides=()))
    head = _head(state, variant, plain, max_depth_m)
    known = _classes_of(head, classes)
    config = replace(
        _config(head, plain, file),
        latent_scale=latent_scale,
        text_adapter=_find(state, ADAPTER) is not None,
        image_limit=_IMAGENET_LIMIT if known.image_range == "imagenet" else BackboneConfig().image_limit,
    )
    backbone = _backbone(unet, vae, frozen, config, state, file)
    there = next((value for key, value in state.items() if key.split(".")[-1] == CLASS_EMBEDDINGS), None)
    embeddings = there if there is not None and _is_context(there, head, config) else None
    recipe = Recipe(
        task="segmentation" if variant in VARIANTS else variant,
        description=f"converted from {file.name}",
        prompt=PromptConfig(kind="caption" if embeddings is None else "averaged-eos"),
        backbone=BackboneSection(source=base),
        head={"variant": variant} if variant in VARIANTS else {},
        protocol=known.protocol,
    )
    run = Run(out)
    run.check(recipe, resume=False)
    model = PerceptionModel(
        backbone, head, _model_config(recipe, known), None if embeddings is None else embeddings.float()[None]
    )
    run.save_prompt_names(known.names, known.prompt_names)
    run.begin(with_author(recipe))
    model.save_pretrained(out)
    run.finish(recipe, {}, evaluations=[], converted_from=file.name)
    return {
        "head": f"{type(head).__name__} ({variant}), reads {[tuple(level) for level in head.config.levels]}",
        "backbone": f"UNet {unet.config.block_out_channels} of the file, text encoder of {base}, "
        f"VAE of {'the file' if vae is not frozen.vae else base}{', text adapter' if config.text_adapter else ''}",
        "classes": ", ".join(known.names) or "none",
        "text": _text_told(there, embeddings),
        "protocol": recipe.protocol or "the task's first",
    }


_PIXELS = {
    21: _Classes(names=("background", *VOC_CLASSES), protocol="squash-512"),
    19: _Classes(names=CITYSCAPES_CLASSES, palette=CITYSCAPES_PALETTE, protocol="cityscapes", image_range="imagenet"),
    150: _Classes(names=tuple(f"class {i}" for i in range(150)), protocol="ade"),
}
_BOXES = {20: _Classes(names=VOC_CLASSES, protocol="voc2012-paper", image_range="imagenet")}
"""{number of classes: what a head with so many was trained on}."""


def read_published(file: Path) -> dict[str, Tensor]:
    """The tensors of a file that mmsegmentation, Lightning or VPD's depth code wrote."""
    if not file.is_file():
        raise ValueError(f"no such checkpoint: {file}")
    if file.suffix == ".safetensors":
        return read_checkpoint(file)
    content = read_pickle(file)
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not tensors:
        raise ValueError(f"{file} holds a {type(content).__name__} without tensors, expected a published checkpoint")
    return tensors


def _variant(state: Mapping[str, Tensor], file: Path) -> str:
    for anchor, variant in HEADS.items():
        if _find(state, anchor) is not None:
            return variant
    raise ValueError(
        f"{file} has no head of the public code (no key ends in {' or '.join(HEADS)}); it looks like "
        f"{looks_like(state)}; `--base` and recipes take backbones as they are"
    )


def _find(state: Mapping[str, Tensor], anchor: str) -> str | None:
    """What stands before `anchor` in the first key that ends in it."""
    return next((key.removesuffix(anchor) for key in state if key == anchor or key.endswith(f".{anchor}")), None)


def _prefix(state: Mapping[str, Tensor], anchor: str, file: Path) -> str:
    found = _find(state, anchor)
    if found is None:
        raise ValueError(
            f"{file} is incomplete: no key ends in {anchor}; expected the whole model of the public code, not a part"
        )
    return found


def _vae(state: Mapping[str, Tensor]) -> AutoencoderKL | None:
    prefix = _find(state, VAE)
    return None if prefix is None else vae_from_ldm(under(state, prefix))


def _head(state: Mapping[str, Tensor], variant: str, plain: DiffusionBackbone, max_depth_m: float) -> PretrainedHead:
    if variant == "depth":
        return DepthHead.from_reference(state, max_depth_m, levels=plain.levels)
    if variant == "detection":
        return FasterRCNNHead.from_reference(state, finest_stride=plain.levels[0].stride)
    # The rest of the file has names of its own that could be taken for the head's.
    own = {k: v for k, v in state.items() if "diffusion_model." not in k and "encoder_vq." not in k}
    return FPNHead.from_reference(own, variant, finest_stride=plain.levels[0].stride)


def _config(head: PretrainedHead, plain: DiffusionBackbone, file: Path) -> BackboneConfig:
    """How many attention maps the head reads, and at which strides: what its levels have beyond the UNet's."""
    ours, theirs = plain.levels, head.config.levels
    extra = [b.channels - a.channels for a, b in zip(ours, theirs, strict=False)]
    maps = {stride.stride: count for stride, count in zip(ours, extra, strict=False) if count}
    if len(ours) != len(theirs) or any(count < 0 for count in extra) or len(set(maps.values())) > 1:
        raise ValueError(
            f"{file}: its head reads {[level.channels for level in theirs]} channels, its UNet gives "
            f"{[level.channels for level in ours]}: expected the same and one number of attention maps"
        )
    if not maps:
        return BackboneConfig(map_strides=())
    return BackboneConfig(map_strides=tuple(maps), num_tokens=next(iter(maps.values())))


def _backbone(
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    frozen: DiffusionBackbone,
    config: BackboneConfig,
    state: Mapping[str, Tensor],
    file: Path,
) -> DiffusionBackbone:
    width, text_width = unet.config.cross_attention_dim, frozen.unet.config.cross_attention_dim
    if width != text_width:
        raise ValueError(
            f"{file}: its UNet takes texts {width} wide, the base's text encoder gives {text_width}: name with --base "
            "what the checkpoint was trained from"
        )
    backbone = DiffusionBackbone(
        unet=unet, vae=vae, text_encoder=frozen.text_encoder, tokenizer=frozen.tokenizer, config=config
    )
    if backbone.text_adapter is not None:
        outer = _prefix(state, ADAPTER, file)
        layers = under(state, f"{outer}text_adapter.fc.")
        gamma = state[_prefix(state, "gamma", file) + "gamma"]
        backbone.text_adapter.load_state_dict({"gamma": gamma, **{f"mlp.{key}": v for key, v in layers.items()}})
    return backbone


def _is_context(embeddings: Tensor, head: PretrainedHead, config: BackboneConfig) -> bool:
    """Whether the file's embeddings were the text of every image, and not just kept along with captions.

    There are as many maps as tokens, which tells the two apart. VPD's depth model has an embedding a room type, and an
    image gets that of its own, never all.
    """
    if isinstance(head, DepthHead):
        return False
    return not config.map_strides or config.num_tokens == len(embeddings)


def _text_told(there: Tensor | None, used: Tensor | None) -> str:
    if used is not None:
        return f"{len(used)} class embeddings of the file"
    return "a caption an image" + ("" if there is None else f"; the file's {len(there)} embeddings are left out")


def _classes_of(head: PretrainedHead, file: Path | None) -> _Classes:
    """Names and protocol by the number of classes: Pascal VOC, Cityscapes or ADE20K."""
    if isinstance(head, DepthHead):
        return _Classes(names=(), protocol="nyu-eigen")
    count = head.config.num_classes
    known = _BOXES if isinstance(head, FasterRCNNHead) else _PIXELS
    found = known.get(count, _Classes(names=tuple(f"class {i}" for i in range(count))))
    if file is None:
        return found
    names = read_object_names(file) if file.name == "objectInfo150.txt" else read_lines(file, "class names")
    if len(names) != count:
        raise ValueError(f"{file} names {len(names)} classes, the head has {count}")
    return replace(found, names=names, palette=found.palette if names == found.names else ())


def _model_config(recipe: Recipe, known: _Classes) -> PerceptionConfig:
    return PerceptionConfig(
        task=recipe.task,
        classes=known.names,
        palette=known.palette,
        prompt="{caption}" if recipe.needs_captions else "",
        captioner=recipe.captioner if recipe.needs_captions else None,
        protocol=recipe.protocol or None,
        image_range=known.image_range,
    )
