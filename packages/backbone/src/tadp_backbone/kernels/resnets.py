"""diffusers' resnet and transformer blocks for channels_last memory, with the kernels between their convolutions."""

# B batch, C channels, H W cells

import torch.nn.functional as F
from diffusers import Transformer2DModel
from diffusers.models.resnet import ResnetBlock2D
from einops import rearrange
from torch import Tensor, nn

from .add_residual import add_residual
from .available import runs_kernels
from .group_norm_silu import group_norm_silu


def fuse_blocks(model: nn.Module) -> int:
    """Have the model's resnet blocks and transformers of images compute as those below; returns how many changed.

    Blocks keep their modules, parameters and names, and become instances of the classes below. Those that scale and
    shift between norm and activation, resample or use another activation than SiLU stay as they are.
    """
    changed = 0
    for module in model.modules():
        if type(module) is ResnetBlock2D and _is_plain(module):
            module.__class__ = FusedResnetBlock
        elif type(module) is Transformer2DModel and module.is_input_continuous:
            module.__class__ = ChannelsLastTransformer
        else:
            continue
        changed += 1
    return changed


def _is_plain(block: ResnetBlock2D) -> bool:
    return (
        isinstance(block.nonlinearity, nn.SiLU)
        and block.time_embedding_norm == "default"
        and block.upsample is block.downsample is None
    )


def _untouched(module: nn.Module) -> bool:
    """Whether a module may be passed by: no adapter in its place, no hook, no `forward` of its own."""
    watched = module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__
    return type(module) in (nn.GroupNorm, nn.Conv2d, nn.SiLU) and not watched


class FusedResnetBlock(ResnetBlock2D):
    """Without gradients, on a GPU: both convolutions' biases, the time embedding and the residual are added by kernels
    that run anyway."""

    def forward(self, input_tensor: Tensor, temb: Tensor | None, *args: object, **kwargs: object) -> Tensor:
        """(B, C in, H, W), embedding of the timestep (B, D) -> (B, C out, H, W)"""
        parts = (self.norm1, self.nonlinearity, self.conv1, self.norm2, self.conv2, self.conv_shortcut)
        usual = (temb is None) == (self.time_emb_proj is None) and all(p is None or _untouched(p) for p in parts)
        if not (usual and runs_kernels(input_tensor, temb, *self.parameters())):
            return super().forward(input_tensor, temb, *args, **kwargs)
        x, shift = _without_bias(self.conv1, _norm_silu(self.norm1, input_tensor))
        if self.time_emb_proj is not None and temb is not None:
            time = self.time_emb_proj(temb if self.skip_time_act else F.silu(temb))
            shift = time if shift is None else time + shift
        x = self.dropout(_norm_silu(self.norm2, x, shift))
        x, bias = _without_bias(self.conv2, x)
        if self.conv_shortcut is not None:
            input_tensor, more = _without_bias(self.conv_shortcut, input_tensor)
            bias = more if bias is None else bias if more is None else bias + more
        x = add_residual(x, input_tensor, None if bias is None else bias.flatten())
        return x if self.output_scale_factor == 1 else x / self.output_scale_factor


def _norm_silu(norm: nn.GroupNorm, x: Tensor, shift: Tensor | None = None) -> Tensor:
    return group_norm_silu(x, norm.num_groups, norm.weight, norm.bias, norm.eps, shift=shift)


def _without_bias(convolution: nn.Conv2d, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """(the convolution without its bias, the bias (1, C))."""
    result = convolution._conv_forward(x, convolution.weight, None)  # with its padding mode
    return result, None if convolution.bias is None else convolution.bias[None]


class ChannelsLastTransformer(Transformer2DModel):
    """Between convolutions and attention channels lie last in both: no copy, and 1x1 convolutions are linear layers.

    `Transformer2DModel` copies what it returns into contiguous memory, from which the next convolution copies it back.
    """

    def _operate_on_continuous_inputs(self, hidden_states: Tensor) -> tuple[Tensor, int]:
        """(B, C, H, W) -> (B, H W, D), D"""
        norm, x = self.norm, hidden_states
        if _untouched(norm) and runs_kernels(x, norm.weight, norm.bias):
            x = group_norm_silu(x, norm.num_groups, norm.weight, norm.bias, norm.eps, activated=False)
        else:
            x = norm(x)
        x = self._projected(self.proj_in, rearrange(x, "b c h w -> b (h w) c"), x.shape[-2])
        return x, x.shape[-1]

    def _get_output_for_continuous_inputs(
        self, hidden_states: Tensor, residual: Tensor, batch_size: int, height: int, width: int, inner_dim: int
    ) -> Tensor:
        """(B, H W, D), (B, C, H, W) -> (B, C, H, W)"""
        x = self._projected(self.proj_out, hidden_states, height)
        return rearrange(x, "b (h w) c -> b c h w", h=height) + residual

    def _projected(self, projection: nn.Module, x: Tensor, height: int) -> Tensor:
        """x (B, H W, C) through the model's linear layers or 1x1 convolutions."""
        if self.use_linear_projection:
            return projection(x)
        if isinstance(projection, nn.Conv2d) and _untouched(projection):
            return F.linear(x, projection.weight.flatten(1), projection.bias)
        x = projection(rearrange(x, "b (h w) c -> b c h w", h=height))
        return rearrange(x, "b c h w -> b (h w) c")
