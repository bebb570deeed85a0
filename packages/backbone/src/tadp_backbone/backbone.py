"""A latent diffusion model as a feature extractor."""

# B batch, H W image pixels, h w latent cells, T tokens, D width of the context

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Self

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from einops import rearrange
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from .class_maps import class_channels, class_tokens
from .config import BackboneConfig
from .features import Features, Level, Pyramid
from .inputs import (
    DIFFUSION_STEPS,
    Inputs,
    check_context,
    check_images,
    check_latents,
    check_range,
    conditioning,
    cut_to,
    has_pooled_row,
    pad_to_multiple,
    size_within,
    timesteps_of,
)
from .io.pretrained import Pretrained
from .latent_memory import cached_latents
from .lora.trainable import TrainableParts
from .recording import record_cross_attention, record_outputs
from .taps import declared_levels, default_taps, map_layers, named_taps
from .text.adapters import LearnedContext, TextAdapter
from .text.encoder import LongText, encode_texts, encode_two, text_parts
from .vae import Generators, Vae, check_vae, factor_of, latents_of, posterior_noise, standard_normal


class DiffusionBackbone(TrainableParts, Pretrained, nn.Module):
    """Image and text in; feature pyramid and cross-attention maps of one UNet pass out.

    Parts that are None cannot be asked for: without `vae` start from latents, without `text_encoder` bring contexts.
    VAE and text encoder are frozen; the UNet trains unless `freeze()` is called. What is read of the pass, and where
    the paper's code differs from the paper: docs/reference.md, section 0.
    """

    def __init__(
        self,
        *,
        unet: UNet2DConditionModel,
        vae: Vae | None = None,
        text_encoder: CLIPTextModel | None = None,
        tokenizer: CLIPTokenizer | None = None,
        text_encoder_2: CLIPTextModelWithProjection | None = None,
        tokenizer_2: CLIPTokenizer | None = None,
        scheduler: DDPMScheduler | None = None,
        config: BackboneConfig | None = None,
    ):
        """`text_encoder_2` and its tokenizer: of Stable Diffusion XL.

        ValueError for a config that these parts cannot follow: strides without cross-attention, taps that are not
        there, a text adapter with SDXL, a sampled posterior of an AutoencoderTiny.
        """
        super().__init__()
        self.source: str | None = None
        """What it was loaded from."""
        self.config = config or BackboneConfig()
        self.unet, self.vae, self.text_encoder, self.tokenizer = unet, vae, text_encoder, tokenizer
        self.text_encoder_2, self.tokenizer_2 = text_encoder_2, tokenizer_2
        if has_pooled_row(unet) and (self.config.text_adapter or self.config.learnt_context):
            raise ValueError("text_adapter and learnt_context are for Stable Diffusion 1 and 2: leave them out")
        self.scheduler = scheduler or DDPMScheduler(
            num_train_timesteps=DIFFUSION_STEPS,
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            steps_offset=1,
        )
        if vae is not None:
            check_vae(vae, unet.config.in_channels, self.config)
        for frozen in self._frozen_parts():
            frozen.requires_grad_(False).eval()
        if tokenizer is not None and text_encoder is not None:
            # vocab.json and merges.txt alone do not say how long a text may be.
            longest = text_encoder.config.max_position_embeddings
            for words in (tokenizer, tokenizer_2):
                if words is not None:
                    words.model_max_length = min(words.model_max_length, longest)
        width = unet.config.cross_attention_dim
        self.text_adapter = TextAdapter(width) if self.config.text_adapter else None
        self.learnt_context = LearnedContext(self.config.learnt_context, width) if self.config.learnt_context else None
        self.taps = default_taps(unet) if self.config.taps is None else named_taps(unet, self.config.taps)
        self.map_layers = map_layers(unet, self.vae_factor, self.config.map_strides)
        """{stride in image pixels: layers whose maps are read}"""
        self._running: object | None = None
        self._range_checked = False

    @property
    def device(self) -> torch.device:
        """Where the UNet is."""
        return _place(self.unet)[0]

    @property
    def vae_factor(self) -> int:
        """Image pixels per latent cell along one side; 8, as in Stable Diffusion, where there is no VAE."""
        return 8 if self.vae is None else factor_of(self.vae)

    @property
    def is_stochastic(self) -> bool:
        """Whether a pass draws random numbers: of a sampled posterior, or noise."""
        return self.config.posterior == "sample" or self.config.noise

    @property
    def size_multiple(self) -> int:
        """Image sides are padded to multiples of this many pixels: the coarsest stride."""
        return self.vae_factor * self._latent_multiple

    @property
    def levels(self) -> tuple[Level, ...]:
        """What `features.levels` will be, finest first, for contexts of `config.num_tokens` tokens."""
        maps = len(self.config.class_words) or self.config.num_tokens
        return declared_levels(self.taps, self.vae_factor, self.config.map_strides, maps)

    def forward(
        self,
        images: Tensor,
        context: Tensor | None = None,
        *,
        timestep: int | Tensor | None = None,
        generator: Generators = None,
    ) -> Features:
        """images (B, 3, H, W) in [-1, 1], any H and W; context (B, T, D) -> Features without the cells of padding.

        `generator`: one for the batch or one per image, where the pass draws (`is_stochastic`). `timestep`: in
        [0, 1000), one for all or one per image (B,), in place of the config's. ValueError for other shapes and types,
        values beyond `config.image_limit`, and a context that is missing or of another width.
        """
        size = (images.shape[-2], images.shape[-1])
        padded = self._ready_images(images, self.size_multiple)
        noise = posterior_noise(self._needed_vae(), padded, self.config, generator)
        given: dict[str, Tensor | None] = {"images": padded, "posterior_noise": noise}
        if noise is None or generator is not None:  # noise that nobody can draw again is never found again
            latents = cached_latents(self, padded, noise)  # outside of the CUDA graph: hashing synchronises
            given = given if latents is None else {"latents": latents.to(*_place(self.unet))}
        return self._run(given, context, padded.shape, timestep, generator, size)

    def extract(
        self,
        latents: Tensor,
        context: Tensor | None = None,
        *,
        timestep: int | Tensor | None = None,
        generator: Generators = None,
        image_size: tuple[int, int] | None = None,
    ) -> Features:
        """latents (B, 4, h, w) as `encode_image` scales them, context (B, T, D) or (1, T, D) -> Features.

        With `config.class_words` the context is one of `encode_text`, (B, T, D + K).

        `timestep`: one for all or one per image (B,), in place of the config's. `generator` draws the noise where the
        config asks for noise. `image_size`: the image's (H, W) where the latents are those of a padded image.
        ValueError as for images.
        """
        check_latents(latents, self.unet.config.in_channels)
        image_size = size_within((latents.shape[-2] * self.vae_factor, latents.shape[-1] * self.vae_factor), image_size)
        latents, _ = pad_to_multiple(latents.to(*_place(self.unet)), self._latent_multiple)
        shape = (len(latents), 3, *(side * self.vae_factor for side in latents.shape[-2:]))
        return self._run({"latents": latents}, context, shape, timestep, generator, image_size)

    def compute(self, inputs: Inputs, image_size: tuple[int, int]) -> Pyramid:
        """A whole pass over tensors that were checked, of images of (H, W) pixels before padding.

        No branch depends on tensor values: a GPU runs it without host synchronisation and can replay it as one CUDA
        graph, which `optimize` puts in its place.
        """
        latents = inputs.latents
        if inputs.images is not None:
            latents = self.encode_padded(inputs.images, inputs.posterior_noise).to(inputs.context.dtype)  # the UNet's
        assert latents is not None, "a pass begins at images or at latents"
        if inputs.step_noise is not None:
            latents = self.scheduler.add_noise(latents, inputs.step_noise, inputs.timesteps)
        outputs, maps = self.run_unet(latents, inputs.timesteps, inputs.context)
        attention, height = {}, latents.shape[-2] * self.vae_factor
        for stride, paths in self.map_layers.items():
            mean = torch.stack([maps[path] for path in paths]).mean(0)
            attention[stride] = cut_to(rearrange(mean, "b (h w) t -> b t h w", h=height // stride), image_size, stride)
        levels = []
        for tap in self.taps:
            stride = tap.factor * self.vae_factor
            level = cut_to(outputs[tap.path], image_size, stride)
            if stride in attention:
                appended = attention[stride]
                if self.config.class_words:
                    appended = class_channels(appended, inputs.named, self.config.class_input)
                level = torch.cat((level, appended), 1)
            levels.append(level)
        return tuple(levels), attention

    def run_unet(
        self, latents: Tensor, timesteps: Tensor, context: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One pass -> ({tap: its output}, {layer: maps (B, N, T)}); `optimize` puts a faster one in its place."""
        layers = [path for paths in self.map_layers.values() for path in paths]
        with (
            self._pass() as running,
            record_outputs(self.unet, [tap.path for tap in self.taps], running) as outputs,
            record_cross_attention(self.unet, layers=layers, detach=self.config.detach_maps, when=running) as maps,
        ):
            size = (latents.shape[-2] * self.vae_factor, latents.shape[-1] * self.vae_factor)
            self.unet(latents, timesteps, **conditioning(self.unet, context, size))
        return outputs, maps

    def optimize(
        self,
        *,
        dtype: torch.dtype | None = None,
        channels_last: bool = True,
        compile: bool | str = False,
        cuda_graphs: bool = False,
    ) -> tuple[str, ...]:
        """Faster passes; returns a line for each thing that was done. The backbone is changed, once and for all.

        `dtype`: bfloat16 or float16 for weights and passes, None: as they are; bfloat16 moves features by about 2 % of
        their size, the rest by float32's rounding. `channels_last`: the order of memory that convolutions like, and
        blocks with fewer operations between them. `compile`: True or a back end of torch.compile, for the UNet's
        transformer blocks, at the first pass of each size (docs/performance.md says how long it takes). `cuda_graphs`:
        replays passes without gradient. Call it when the backbone is on its device and learned tokens and LoRAs are
        loaded.
        """
        from .optimizing import optimize

        return optimize(self, dtype, channels_last, compile, cuda_graphs)

    def folded(self, context: Tensor | None = None) -> AbstractContextManager[None]:
        """Inside, all that depends on the timestep and on `context` (1, T, D) alone is a constant: for export.

        None: the context varies, and the timestep alone is folded in. Passes with other values are wrong inside.
        """
        from .text.folding import folded

        return folded(self, context)

    def encode_image(self, images: Tensor, *, generator: Generators = None) -> Tensor:
        """images (B, 3, H, W) in [-1, 1] -> latents (B, 4, H/8, W/8), scaled; sides are padded to multiples of 8.

        `generator`: where the config samples the posterior. ValueError without a VAE, and as for `forward`.
        """
        # Padded and unpadded images differ: forward() pads to the whole network's multiple.
        images = self._ready_images(images, self.vae_factor)
        return self.encode_padded(images, posterior_noise(self._needed_vae(), images, self.config, generator))

    def encode_padded(self, images: Tensor, noise: Tensor | None) -> Tensor:
        """Images of `_ready_images` -> latents (B, 4, h, w), scaled; `noise`: see `latents_of`."""
        return latents_of(self._needed_vae(), images, self.config, noise)

    def encode_text(self, texts: Sequence[str], *, long: LongText = "truncate") -> Tensor:
        """Texts -> contexts (B, 77, D), CLIP's last hidden state after its final norm.

        Of Stable Diffusion XL the pooled embedding is one more row behind them (B, 78, D).
        Texts of more tokens lose their end, with one warning that counts them, or with `long="chunk"` are encoded in
        several pieces joined along the tokens (B, 77 pieces, D). With `config.class_words` K columns follow, which say
        what class a token names (B, 77, D + K). ValueError for a learned token that was not loaded.
        """
        tokenizer, encoder = text_parts(self)
        texts = [texts] if isinstance(texts, str) else texts
        if self.text_encoder_2 is not None:
            if long == "chunk":
                raise ValueError("long='chunk' is for one text encoder, and SDXL has two: leave it out")
            context = encode_two((tokenizer, encoder), (self.tokenizer_2, self.text_encoder_2), texts)
        else:
            context = encode_texts(tokenizer, encoder, texts, long)
        if not self.config.class_words:
            return context
        if long == "chunk":
            raise ValueError("long='chunk' with class_words: chunks have no token positions; leave one of them out")
        named = class_tokens(tokenizer, texts, self.config.class_words, context.shape[1])
        return torch.cat((context, named.to(context)), 2)

    def freeze(self) -> Self:
        """Freeze the UNet too: a pass then stores nothing for backward, unless context or latents need a gradient."""
        self.unet.requires_grad_(False)
        return self

    def train(self, mode: bool = True) -> Self:
        """VAE and text encoder stay in evaluation mode: they are frozen."""
        super().train(mode)
        for frozen in self._frozen_parts():
            frozen.eval()
        return self

    @property
    def _latent_multiple(self) -> int:
        return 2 ** (len(self.unet.config.block_out_channels) - 1)

    def _ready_images(self, images: Tensor, multiple: int) -> Tensor:
        """Checked, on the VAE's device in its type, and padded.

        Their range is checked where they lie in main memory; on another device once, as reading a value back stalls it.
        """
        vae = self._needed_vae()
        check_images(images, vae.config.in_channels)
        if images.device.type == "cpu" or not (self._range_checked or images.is_meta):
            check_range(images, self.config.image_limit)
            self._range_checked = True
        return pad_to_multiple(images.to(*_place(vae)), multiple)[0]

    def _needed_vae(self) -> Vae:
        if self.vae is None:
            raise ValueError("this backbone has no VAE: give it one, or call extract() with latents")
        return self.vae

    def _frozen_parts(self) -> Iterable[nn.Module]:
        return (part for part in (self.vae, self.text_encoder, self.text_encoder_2) if part is not None)

    @contextmanager
    def _pass(self) -> Iterator[Callable[[], bool]]:
        """Yields whether this pass is the innermost one: a pass begun inside it must not write into its results."""
        outer, mine = self._running, object()
        self._running = mine
        try:
            yield lambda: self._running is mine
        finally:
            self._running = outer

    def _run(
        self,
        given: dict[str, Tensor | None],
        context: Tensor | None,
        shape: tuple[int, ...],
        timestep: int | Tensor | None,
        generator: Generators,
        image_size: tuple[int, int],
    ) -> Features:
        """A pass from `given`, the images or latents of Inputs, of padded images of this shape (B, 3, H, W)."""
        batch, height, width = shape[0], shape[-2], shape[-1]
        timesteps = timesteps_of(self.config.timestep if timestep is None else timestep, batch, self.device)
        if self.config.noise:
            cells = (batch, self.unet.config.in_channels, height // self.vae_factor, width // self.vae_factor)
            device, dtype = _place(self.unet)
            like = torch.empty(cells, dtype=dtype, device=device)
            given = {**given, "step_noise": standard_normal(like, generator)}
        context, named = self._context(context, batch)
        inputs = Inputs(timesteps=timesteps, context=context, named=named, **given)
        levels, attention = self.compute(inputs, image_size)
        return Features(levels, attention, image_size, (height - image_size[0], width - image_size[1]))

    def _context(self, context: Tensor | None, batch: int) -> tuple[Tensor, Tensor]:
        """The UNet's context (B, T, D), and which class its tokens name (B, T, K), K 0 without class words."""
        if context is None:
            if self.learnt_context is None:
                raise ValueError("no context given: encode_text([''] * B) is the empty one")
            context = self.learnt_context(batch)
        width = self.unet.config.cross_attention_dim
        check_context(context, batch, width + len(self.config.class_words))
        context, named = context[..., :width], context[..., width:]
        if self.text_adapter is not None:
            # It keeps its own precision with a UNet in half precision.
            context = self.text_adapter(context.to(self.text_adapter.gamma))
        place = _place(self.unet)
        context, named = (x.to(*place).expand(batch, -1, -1) for x in (context, named))
        return context, named


def _place(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and type of the first parameter: diffusers' own properties walk all modules, milliseconds at each call."""
    first = next(module.parameters())
    return first.device, first.dtype
