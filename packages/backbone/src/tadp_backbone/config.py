"""How features are read."""

from dataclasses import dataclass
from typing import Literal

MOST_TOKENS = 10**5
"""Of a context."""


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """What a pass through the backbone computes; up to rounding, config, weights and inputs decide the numbers.

    docs/reference.md, section 0, compares the paper and its code. A value out of its range is a ValueError.
    """

    timestep: int = 1
    """Diffusion step at which features are read, in [0, 1000). The paper writes t = 0, its code runs t = 1."""

    noise: bool = False
    """Add noise of level `timestep` to the latents first, as at generation. The paper reads clean latents."""

    posterior: Literal["mode", "sample"] = "mode"
    """What of the VAE's posterior is taken. The paper's code samples exactly when it scales."""

    latent_scale: float | None = None
    """Factor on the latents; None: the VAE's own (0.18215 for Stable Diffusion), 1.0: left unscaled."""

    vae_scaling_factor: float | None = None
    """The full VAE's scaling factor, which an AutoencoderTiny's latents contain; needed where `latent_scale` takes its
    place, and set where an AutoencoderTiny replaces the full VAE. None: not known."""

    map_strides: tuple[int, ...] = (16, 32)
    """Strides in image pixels at which cross-attention maps are read and concatenated; () for no maps."""

    detach_maps: bool = True
    """Cut the gradient through the maps, as the paper's code does by its checkpointing; False lets it pass."""

    class_words: tuple[tuple[str, ...], ...] = ()
    """The words and phrases that name each class. Where given, there is one map per class: the sum
    over the tokens that name it, wherever they occur in the prompt, and 0 for a class that is not named. (): one a
    token, by its place in the prompt, as in the paper."""

    class_input: Literal["maps", "presence"] = "maps"
    """With class words, the channel appended to the features for each class. "maps": its map. "presence": the largest
    value of its column of the context, constant over cells: whether the class is named, not where it is."""

    num_tokens: int = 77
    """Tokens of the contexts to come; only `backbone.levels` counts with it, any number runs."""

    taps: tuple[str, ...] | None = None
    """Module paths in the UNet whose outputs are the levels, finest first; None: the paper's."""

    text_adapter: bool = False
    """Pass contexts through a small residual network that trains with the UNet."""

    learnt_context: int = 0
    """Number of free context vectors used where no context is given (MetaPrompts); 0: a context is needed."""

    image_limit: float = 1.5
    """Largest absolute pixel value accepted. Images lie in [-1, 1]; resizing may overshoot a little. The paper's
    detection and Cityscapes feed images normalised by ImageNet's statistics: 2.7 lets them pass."""

    def __post_init__(self) -> None:
        # lists come from JSON and TOML
        object.__setattr__(self, "map_strides", tuple(self.map_strides))
        object.__setattr__(self, "class_words", tuple(tuple(words) for words in self.class_words))
        object.__setattr__(self, "taps", None if self.taps is None else tuple(self.taps))
        if not 0 <= self.timestep < 1000:
            raise ValueError(f"timestep is {self.timestep}, expected 0 to 999")
        if self.posterior not in ("mode", "sample"):
            raise ValueError(f"posterior is {self.posterior!r}, expected 'mode' or 'sample'")
        if self.class_input not in ("maps", "presence"):
            raise ValueError(f"class_input is {self.class_input!r}, expected 'maps' or 'presence'")
        if self.class_input == "presence" and not self.class_words:
            raise ValueError("class_input 'presence' needs class_words: the words that name each class")
        if self.latent_scale is not None and self.latent_scale <= 0:
            raise ValueError(f"latent_scale is {self.latent_scale}, expected a factor above 0 (1.0: unscaled)")
        if self.vae_scaling_factor is not None and self.vae_scaling_factor <= 0:
            raise ValueError(f"vae_scaling_factor is {self.vae_scaling_factor}, expected a factor above 0")
        tokens = (self.num_tokens, self.learnt_context)
        if self.num_tokens < 1 or self.learnt_context < 0 or self.image_limit <= 0 or max(tokens) > MOST_TOKENS:
            raise ValueError(
                f"num_tokens {self.num_tokens}, learnt_context {self.learnt_context}, image_limit {self.image_limit}: "
                f"expected at least 1, at least 0, above 0, and at most {MOST_TOKENS} tokens"
            )
