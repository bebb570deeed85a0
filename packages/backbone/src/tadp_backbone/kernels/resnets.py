"""diffusers' resnet and transformer blocks for channels_last memory, fused or in place."""

# B batch, C channels, H W cells

from typing import TypeGuard

import torch
import torch.nn.functional as F
from diffusers import Transformer2DModel
from diffusers.models.resnet import ResnetBlock2D
from einops import rearrange
from torch import Tensor, nn

from .add_residual import add_residual
from .available import needs_gradient, runs_kernels
from .convolutions import pointwise
from .group_norm_silu import group_norm_silu
from .unmodified import is_unmodified


class FusedResnetBlock(ResnetBlock2D):
    """Without gradients: on a GPU both convolutions' biases, the time embedding and the residual are added by kernels
    that run anyway; elsewhere intermediate results are overwritten in place."""

    @staticmethod
    def matches(module: nn.Module) -> TypeGuard[ResnetBlock2D]:
        """Not those that scale and shift between norm and activation, resample or have another activation."""
        return (
            type(module) is ResnetBlock2D
            and isinstance(module.nonlinearity, nn.SiLU)
            and module.time_embedding_norm == "default"
            and module.upsample is module.downsample is None
        )

    def forward(self, input_tensor: Tensor, temb: Tensor | None, *args: object, **kwargs: object) -> Tensor:
        """(B, C in, H, W), embedding of the timestep (B, D) -> (B, C out, H, W)"""
        parts = (self.norm1, self.nonlinearity, self.conv1, self.norm2, self.conv2, self.conv_shortcut)
        usual = (temb is None) == (self.time_emb_proj is None) and all(p is None or is_unmodified(p) for p in parts)
        given = (input_tensor, temb, *self.parameters())
        if not usual or torch.compiler.is_compiling() or needs_gradient(*given):
            return super().forward(input_tensor, temb, *args, **kwargs)
        time = None
        if self.time_emb_proj is not None and temb is not None:
            time = self.time_emb_proj(temb if self.skip_time_act else F.silu(temb))
        x = self._by_kernels(input_tensor, time) if runs_kernels(*given) else self._in_place(input_tensor, time)
        return x if self.output_scale_factor == 1 else x / self.output_scale_factor

    def _by_kernels(self, input_tensor: Tensor, time: Tensor | None) -> Tensor:
        x, shift = _without_bias(self.conv1, _norm_silu(self.norm1, input_tensor))
        if time is not None:
            shift = time if shift is None else time + shift
        x = self.dropout(_norm_silu(self.norm2, x, shift))
        x, bias = _without_bias(self.conv2, x)
        if self.conv_shortcut is not None:
            input_tensor, more = _without_bias(self.conv_shortcut, input_tensor)
            bias = more if bias is None else bias if more is None else bias + more
        return add_residual(x, input_tensor, None if bias is None else bias.flatten())

    def _in_place(self, input_tensor: Tensor, time: Tensor | None) -> Tensor:
        x = self.conv1(F.silu(self.norm1(input_tensor), inplace=True))
        if time is not None:
            x += time[:, :, None, None]
        x = self.conv2(self.dropout(F.silu(self.norm2(x), inplace=True)))
        if self.conv_shortcut is not None:
            input_tensor = pointwise(self.conv_shortcut, input_tensor)
        # Under autocast the convolution's result may be in lower precision than the residual.
        return x.add_(input_tensor) if x.dtype == input_tensor.dtype else x + input_tensor


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

    @staticmethod
    def matches(module: nn.Module) -> TypeGuard[Transformer2DModel]:
        """Those of images."""
        return type(module) is Transformer2DModel and bool(module.is_input_continuous)

    def _operate_on_continuous_inputs(self, hidden_states: Tensor) -> tuple[Tensor, int]:
        """(B, C, H, W) -> (B, H W, D), D"""
        norm, x = self.norm, hidden_states
        if is_unmodified(norm) and runs_kernels(x, norm.weight, norm.bias):
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
        if isinstance(projection, nn.Conv2d) and is_unmodified(projection):
            return F.linear(x, projection.weight.flatten(1), projection.bias)
        x = projection(rearrange(x, "b (h w) c -> b c h w", h=height))
        return rearrange(x, "b c h w -> b (h w) c")
