"""A published checkpoint of the paper's public code -> a run folder (key names: docs/reference.md, sections 0 to 3)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

from tadp_backbone import BackboneConfig, DiffusionBackbone
from tadp_backbone.ldm import read_checkpoint, unet_from_ldm, vae_from_ldm
from tadp_backbone.ldm.checkpoint import looks_like, under
from tadp_cli.config.recipe import BackboneSection, PromptConfig, Recipe
from tadp_cli.prompts.authors import with_author
from tadp_cli.run.run import Run
from tadp_heads import PerceptionModel
from tadp_heads.depth import DepthHead
from tadp_heads.model_config import PerceptionConfig
from tadp_heads.pretrained import PretrainedHead
from tadp_heads.published.heads import ANCHORS, prefix_of, read_head, variant_of
from tadp_heads.published.trained_on import TrainedOn, trained_on
from tadp_heads.segmentation.head import VARIANTS

UNET, VAE = "diffusion_model.input_blocks.0.0.weight", "quant_conv.weight"
ADAPTER, CLASS_EMBEDDINGS = "text_adapter.fc.0.weight", "class_embeddings"
_IMAGENET_LIMIT = 2.7


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
    """Writes the run and reports what was found in the file.

    The text encoder was frozen in training, so that it and the tokenizer are those of `base`, as is a VAE that the file
    leaves out.
    """
    state = read_checkpoint(file)
    variant = variant_of(state)
    if variant is None:
        raise ValueError(
            f"{file} has no head of the public code (no key ends in {' or '.join(ANCHORS)}); it looks like "
            f"{looks_like(state)}; `--base` and recipes take backbones as they are"
        )
    unet = unet_from_ldm(under(state, _prefix(state, UNET, file) + "diffusion_model."), num_heads)
    frozen = DiffusionBackbone.from_pretrained(base)
    vae = _vae(state) or frozen.vae
    plain = DiffusionBackbone(unet=unet, vae=vae, config=BackboneConfig(map_strides=()))
    head = read_head(state, variant, plain.levels, max_depth_m)
    known = trained_on(head, classes)
    config = replace(
        _config(head, plain, file),
        latent_scale=latent_scale,
        text_adapter=prefix_of(state, ADAPTER) is not None,
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
    run.finish(recipe, {"metrics": {}}, evaluations=[], converted_from=file.name)
    return {
        "head": f"{type(head).__name__} ({variant}), reads {[tuple(level) for level in head.config.levels]}",
        "backbone": f"UNet {unet.config.block_out_channels} of the file, text encoder of {base}, "
        f"VAE of {'the file' if vae is not frozen.vae else base}{', text adapter' if config.text_adapter else ''}",
        "classes": ", ".join(known.names) or "none",
        "text": _conditioning_of(there, embeddings),
        "protocol": recipe.protocol or "the task's first",
    }


def _prefix(state: Mapping[str, Tensor], anchor: str, file: Path) -> str:
    found = prefix_of(state, anchor)
    if found is None:
        raise ValueError(
            f"{file} is incomplete: no key ends in {anchor}; expected the complete model of the public code, not a part"
        )
    return found


def _vae(state: Mapping[str, Tensor]) -> AutoencoderKL | None:
    prefix = prefix_of(state, VAE)
    return None if prefix is None else vae_from_ldm(under(state, prefix))


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

    There are as many maps as tokens, which distinguishes the two. VPD's depth model has one embedding per room type,
    and an image gets that of its own, never all.
    """
    if isinstance(head, DepthHead):
        return False
    return not config.map_strides or config.num_tokens == len(embeddings)


def _conditioning_of(there: Tensor | None, used: Tensor | None) -> str:
    if used is not None:
        return f"{len(used)} class embeddings of the file"
    return "one caption per image" + ("" if there is None else f"; the file's {len(there)} embeddings are left out")


def _model_config(recipe: Recipe, known: TrainedOn) -> PerceptionConfig:
    return PerceptionConfig(
        task=recipe.task,
        classes=known.names,
        palette=known.palette,
        prompt="{caption}" if recipe.needs_captions else "",
        captioner=recipe.captioner if recipe.needs_captions else None,
        protocol=recipe.protocol or None,
        image_range=known.image_range,
    )
