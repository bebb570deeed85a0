"""A vision transformer as a feature extractor, with a backbone's interface to training."""

# B batch, H W image pixels, C channels, g cells of the patch grid, T texts or classes, D width of the joint space

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

import torch
from einops import rearrange
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from ..features import Features, Level
from ..inputs import check_context, check_images, check_range, cut_to, pad_to_multiple
from ..lora.merge import merge_in_place
from ..recording import record_outputs
from .config import VisionConfig
from .families import family_of
from .pyramid import FACTORS, level_strides, quarter_taps, resample
from .text import cosine_maps, embed_classes, embed_texts, named_classes, text_aligned

_ATTENTION = r"(attention|self_attn)\.(q_proj|k_proj|v_proj|o_proj|out_proj)"
_UNUSED = ("embeddings.mask_token", "head.*")
"""Parameters of image towers that no level depends on: for masked images, and of the pooling head."""


class VisionBackbone(nn.Module):
    """Image in; feature pyramid of a vision transformer out. It takes no text.

    `pyramid` describes how patch features become levels. The image tower trains unless `freeze()` is called; in either
    mode it computes as in evaluation (no drop path, no random positions).
    """

    is_stochastic = False

    def __init__(self, *, model: PreTrainedModel, config: VisionConfig | None = None):
        super().__init__()
        self.config = config or VisionConfig()
        self.model = model
        self.family = family_of(model.config)
        tower: Any = self.tower.config
        self.patch_size = _one_side(tower.patch_size)
        blocks = tower.num_hidden_layers
        self.taps = self.config.taps or quarter_taps(blocks)
        if len(self.taps) != len(FACTORS) or not all(1 <= tap <= blocks for tap in self.taps):
            raise ValueError(
                f"taps {list(self.taps)}: expected {len(FACTORS)} blocks of 1 to {blocks}, finest level first"
            )
        mean, std = (
            own or of_family for own, of_family in zip(self._statistics, self.family.normalisation, strict=True)
        )
        # Pixels come in [-1, 1]: x / 2 + 1/2 is in [0, 1].
        self._scale: Tensor
        self._shift: Tensor
        self.register_buffer("_scale", _channels(0.5 / s for s in std), persistent=False)
        self.register_buffer(
            "_shift", _channels((0.5 - m) / s for m, s in zip(mean, std, strict=True)), persistent=False
        )
        self.model.requires_grad_(False).eval()
        self.tower.requires_grad_(True)
        self._range_checked = False
        self._check_strides()

    @property
    def tower(self) -> nn.Module:
        """The image tower."""
        return self.model.vision_model if self.family.two_towers else self.model

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.model.device

    @property
    def strides(self) -> tuple[int, ...]:
        """Image pixels per feature cell of each level, finest first."""
        return level_strides(self.patch_size)

    @property
    def size_multiple(self) -> int:
        """Image sides are padded to multiples of this many pixels: the coarsest stride."""
        return self.strides[-1]

    @property
    def map_strides(self) -> tuple[int, ...]:
        """Of the levels to which maps are appended."""
        return ()

    @property
    def levels(self) -> tuple[Level, ...]:
        """What `features.levels` will be, finest first."""
        tower: Any = self.tower.config
        channels, maps = tower.hidden_size, len(self.config.class_words) or 1
        return tuple(Level(channels + maps * (stride in self.map_strides), stride) for stride in self.strides)

    def forward(self, images: Tensor, context: Tensor | None = None) -> Features:
        """images (B, 3, H, W) in [-1, 1], any H and W -> Features without the cells of padding; ValueError for others.

        `context` is what `encode_text` gave, None for a model without a text tower.
        """
        check_images(images, 3)
        if images.device.type == "cpu" or not (self._range_checked or images.is_meta):
            check_range(images, self.config.image_limit)
            self._range_checked = True
        size = (images.shape[-2], images.shape[-1])
        padded, padding = pad_to_multiple(images.to(self.device, self.model.dtype), self.size_multiple)
        covered = (padded.shape[-2], padded.shape[-1])
        grids = self._patch_features(padded)
        levels = [
            resample(grid, self.patch_size, self.strides, index, covered)
            for index, grid in enumerate(grids[: len(FACTORS)])
        ]
        attention = self._maps(grids[-1], context, covered) if self.map_strides else {}
        attention = {stride: cut_to(maps, size, stride) for stride, maps in attention.items()}
        levels = [cut_to(level, size, stride) for level, stride in zip(levels, self.strides, strict=True)]
        levels = [
            torch.cat((level, self._appended(attention[stride], context)), 1) if stride in attention else level
            for level, stride in zip(levels, self.strides, strict=True)
        ]
        return Features(tuple(levels), attention, size, padding)

    def freeze(self) -> Self:
        """Freeze the image tower: a pass then keeps nothing for a backward pass."""
        self.tower.requires_grad_(False)
        return self

    def train(self, mode: bool = True) -> Self:
        """The model stays in evaluation mode; its blocks alone know of training, for gradient checkpointing."""
        super().train(mode)
        self.model.eval()
        for module in self.tower.modules():
            if isinstance(module, GradientCheckpointingLayer):
                module.training = mode
        return self

    @property
    def unreached(self) -> tuple[str, ...]:
        """Patterns of `trainable_parts`' parameters that no gradient reaches."""
        behind = [f"unet.{self.family.blocks}.{block}.*" for block in range(max(self.taps), len(self.blocks()))]
        return (*(f"unet.{name}" for name in _UNUSED), *behind)

    def trainable_parts(self) -> dict[str, nn.Module]:
        """The image tower, in the place that the UNet has in the settings of training."""
        return {"unet": self.tower}

    def blocks(self) -> list[nn.Module]:
        """Of the image tower, in the order in which they run."""
        return list(self.tower.get_submodule(self.family.blocks).children())

    def checkpoint_gradients(self, enabled: bool) -> None:
        """Whether blocks run again in the backward pass, which saves the memory of their activations."""
        verb, tower = "enable" if enabled else "disable", self.tower
        # transformers 5.23 gave it another name
        switch = getattr(tower, f"activation_checkpointing_{verb}", None) or getattr(
            tower, f"gradient_checkpointing_{verb}"
        )
        switch(*([{"use_reentrant": False}] if enabled else []))

    def add_low_rank(self, rank: int, seed: int) -> None:
        """Put low-rank updates next to the weights of the attention; the output is unchanged at first."""
        targets = rf"{self.family.blocks}\.\d+\.{_ATTENTION}".replace("encoder.", r"encoder\.")
        with torch.random.fork_rng(devices=[]):  # peft draws the first matrix from torch's generator
            torch.manual_seed(seed)
            inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets), self.tower)

    def merge_low_rank(self) -> None:
        """Add the updates to the weights and remove them."""
        merge_in_place(self.tower, 1.0)

    @contextmanager
    def low_rank_merged(self) -> Iterator[None]:
        """Inside, the model is a plain one with the updates in its weights."""
        model = self.model
        self.model = deepcopy(model)  # taking the updates out again would leave rounding errors
        self.merge_low_rank()
        try:
            yield
        finally:
            self.model = model

    def fingerprint(self) -> str:
        """Hash of the weights and settings that decide what a pass computes."""
        from .files import vision_fingerprint

        return vision_fingerprint(self)

    def blank_context(self, batch: int) -> Tensor | None:
        """A context of the right shape: zeros, or None for a model without a text tower."""
        return None

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        config: VisionConfig | None = None,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        offline: bool = False,
        **changes: Any,
    ) -> "VisionBackbone":
        """A name of the table, a hub id, or a folder that transformers or `save_pretrained` wrote.

        The class follows the model: a `VisionTextBackbone` where it has a text tower. `config`: None for the one saved
        with the weights; `changes` replace single fields of it. `offline` opens no connection.
        """
        from .files import load_vision

        model, tokenizer, config = load_vision(source, config=config, dtype=dtype, offline=offline, changes=changes)
        if tokenizer is None:
            return VisionBackbone(model=model, config=config).to(device)
        return VisionTextBackbone(model=model, tokenizer=tokenizer, config=config).to(device)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write transformers' folder with the config; `from_pretrained(folder)` reads the same backbone back."""
        from .files import save_vision

        save_vision(self, Path(folder))

    @property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.config.image_mean, self.config.image_std

    def _check_strides(self) -> None:
        unknown = set(self.config.map_strides or ()) - set(self.strides)
        if unknown or (self.config.map_strides and not self.map_strides):
            there = f"has levels at {', '.join(map(str, self.strides))}" if unknown else "has no text tower"
            raise ValueError(f"map_strides {list(self.config.map_strides or ())}: this model {there}; leave them out")

    def _patch_features(self, images: Tensor) -> list[Tensor]:
        """Padded images -> the tapped blocks' features behind the last norm (B, C, g, g)."""
        return [self._grid(self._normed(tokens), images) for tokens in self._tokens(images, self.taps)]

    def _tokens(self, images: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """Outputs (B, tokens, C) of blocks, counted from 1, for padded images."""
        images = pad_to_multiple(images * self._scale + self._shift, self.patch_size)[0]
        paths = [f"{self.family.blocks}.{block - 1}" for block in blocks]
        with record_outputs(self.tower, paths) as outputs:
            self.tower(**self._inputs(images))
        return [outputs[path] for path in paths]

    def _inputs(self, images: Tensor) -> dict[str, Any]:
        if not self.family.patches:
            return {"pixel_values": images} | ({"interpolate_pos_encoding": True} if self.family.interpolates else {})
        side = self.patch_size
        rows = rearrange(images, "b c (h p) (w q) -> b (h w) (p q c)", p=side, q=side)
        shape = torch.tensor([[images.shape[-2] // side, images.shape[-1] // side]] * len(images), device="cpu")
        return {"pixel_values": rows, "pixel_attention_mask": None, "spatial_shapes": shape}

    def _normed(self, tokens: Tensor) -> Tensor:
        return self.tower.get_submodule(self.family.norm)(tokens)

    def _grid(self, tokens: Tensor, images: Tensor) -> Tensor:
        """(B, tokens, C) -> (B, C, g, g) of the patches alone."""
        height = -(-images.shape[-2] // self.patch_size)
        return rearrange(tokens[:, self.family.prefix(self.tower.config) :], "b (h w) c -> b c h w", h=height)

    def _maps(self, patches: Tensor, context: Tensor | None, size: tuple[int, int]) -> dict[int, Tensor]:
        raise NotImplementedError("a model without a text tower has no maps")

    def _appended(self, maps: Tensor, context: Tensor | None) -> Tensor:
        return maps


class VisionTextBackbone(VisionBackbone):
    """A vision transformer with a text tower: cosine maps take the place of attention maps."""

    def __init__(self, *, model: PreTrainedModel, tokenizer: Any, config: VisionConfig | None = None):
        super().__init__(model=model, config=config)
        self.tokenizer = tokenizer
        self._classes: tuple[object, Tensor] | None = None

    @property
    def map_strides(self) -> tuple[int, ...]:
        """Of the levels to which maps are appended."""
        return self.strides[1:3] if self.config.map_strides is None else self.config.map_strides

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> contexts: the text's vector (B, 1, D), or with `config.class_words` the vector of each class that it
        names, and zeros for the others (B, K, D)."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        words = self.config.class_words
        if not words:
            return embed_texts(self.model, self.tokenizer, texts)[:, None]
        made_for = (words, self.device, self.model.dtype)
        if self._classes is None or self._classes[0] != made_for:
            self._classes = (made_for, embed_classes(self.model, self.tokenizer, words))
        vectors = self._classes[1]
        return named_classes(texts, words).to(vectors)[..., None] * vectors

    def blank_context(self, batch: int) -> Tensor:
        """Zeros (B, 1, D), or (B, K, D) with class words."""
        tower: Any = self.tower.config
        width = self.model.projection_dim if hasattr(self.model, "projection_dim") else tower.hidden_size
        return torch.zeros(batch, len(self.config.class_words) or 1, width, device=self.device)

    def _patch_features(self, images: Tensor) -> list[Tensor]:
        """As without text; behind them the patches in the joint space, where there are maps."""
        if not self.map_strides:
            return super()._patch_features(images)
        *tapped, before_last = self._tokens(images, (*self.taps, len(self.blocks()) - 1))
        with torch.no_grad() if self.config.detach_maps else nullcontext():
            aligned = text_aligned(self.model, self.family, self.tower, before_last)
        return [self._grid(tokens, images) for tokens in (*map(self._normed, tapped), aligned)]

    def _maps(self, patches: Tensor, context: Tensor | None, size: tuple[int, int]) -> dict[int, Tensor]:
        """{stride: (B, T, h, w)}, cosines in [-1, 1]."""
        if context is None:
            raise ValueError("no context given: encode_text([''] * B) is the empty one")
        check_context(context, len(patches), patches.shape[1])
        maps = cosine_maps(patches, context.to(self.device).expand(len(patches), -1, -1))
        places = {stride: index for index, stride in enumerate(self.strides)}
        return {s: resample(maps, self.patch_size, self.strides, places[s], size) for s in self.map_strides}

    def _appended(self, maps: Tensor, context: Tensor | None) -> Tensor:
        if self.config.class_input == "maps" or context is None:
            return maps
        named = context.to(maps).abs().sum(-1) > 0
        return named[..., None, None].to(maps).expand(len(maps), -1, *maps.shape[-2:])


def _one_side(patch_size: Any) -> int:
    sides = set(patch_size) if isinstance(patch_size, list | tuple) else {patch_size}
    if len(sides) > 1:
        raise ValueError(f"patches of {patch_size} pixels: expected squares")
    return sides.pop()


def _channels(values: Any) -> Tensor:
    return torch.tensor(list(values))[:, None, None]
