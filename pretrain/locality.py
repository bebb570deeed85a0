"""An initialisation of the captioner's vision tower in which attention is local, as in a convolution.

A vision transformer that begins at random needs many images before it sees outlines; a real BLIP-2 begins with a tower
that has had them. Begun like this, ours needs fewer.
"""

import torch
from torch import Tensor, nn
from transformers.models.blip_2.modeling_blip_2 import Blip2VisionModel

FREQUENCIES = 5
NEIGHBOURS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
"""(down, right) in patches, one for each attention head: the patch itself and its four neighbours."""


@torch.no_grad()
def attend_to_neighbours(tower: Blip2VisionModel) -> None:
    """Sets position embeddings, queries and keys in place, so that head h of every layer attends to NEIGHBOURS[h].

    The first 4 * FREQUENCIES channels carry sines and cosines of a patch's place and nothing else at first. A query
    turned by an offset is most like the key at that offset. All of it can be changed by training.
    """
    config = tower.config
    if config.num_attention_heads != len(NEIGHBOURS):
        raise ValueError(f"{config.num_attention_heads} heads, expected one for each of {len(NEIGHBOURS)} neighbours")
    side = config.image_size // config.patch_size
    omega = torch.pi * torch.arange(1, FREQUENCIES + 1) / side
    down, right = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    places = torch.cat([_waves(down.flatten(), omega), _waves(right.flatten(), omega)], dim=1)  # (N, 4 F)
    width = places.shape[1]
    embeddings = tower.embeddings
    embeddings.position_embedding[0, 0, :width] = 0
    embeddings.position_embedding[0, 1:, :width] = 0.5 * places
    embeddings.patch_embedding.weight[:width] = 0
    embeddings.patch_embedding.bias[:width] = 0
    nn.init.normal_(embeddings.patch_embedding.weight[width:], std=(3 * config.patch_size**2) ** -0.5)
    depth = config.hidden_size // config.num_attention_heads
    for layer in tower.encoder.layers:
        query, key, _ = layer.self_attn.qkv.weight.chunk(3)  # views, (hidden, hidden) each
        for head, offset in enumerate(NEIGHBOURS):
            rows = slice(head * depth, head * depth + width)
            query[rows, :width] = depth**0.25 * _shift(offset, omega)
            key[rows, :width] = depth**0.25 * torch.eye(width)


def _waves(place: Tensor, omega: Tensor) -> Tensor:
    """(N,) -> (N, 2 F): cosines, then sines."""
    angle = place[:, None] * omega
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def _shift(offset: tuple[int, int], omega: Tensor) -> Tensor:
    """(4 F, 4 F): turns the waves of a place into those of the place that lies `offset` further."""
    blocks = []
    for distance in offset:
        cos, sin = torch.diag((distance * omega).cos()), torch.diag((distance * omega).sin())
        blocks.append(torch.cat([torch.cat([cos, -sin], dim=1), torch.cat([sin, cos], dim=1)]))
    return torch.block_diag(*blocks)
