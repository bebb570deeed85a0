"""Exports the text encoder to its own file, for models with one prompt per image."""

# B texts, T tokens, D width of the context

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram


class _TextGraph(nn.Module):
    """Token ids (B, T) -> context (B, T, D) in float32."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.encoder(input_ids).last_hidden_state.float()


def write_text_encoder(
    backbone: Any, path: Path, write: Callable[[ExportedProgram, Path, Sequence[str], Sequence[str]], None]
) -> Path:
    """Write the graph of token ids int64 (N, T) -> contexts float32 (N, T, D), N dynamic, and the tokenizer next to it.

    The tokenizer is a folder that transformers loads.
    """
    encoder, tokenizer = backbone.text_encoder, backbone.tokenizer
    ids = torch.zeros(2, tokenizer.model_max_length, dtype=torch.int64, device=next(encoder.parameters()).device)
    shapes = {"input_ids": {0: Dim.DYNAMIC}}
    program = torch.export.export(_TextGraph(encoder).eval(), (), kwargs={"input_ids": ids}, dynamic_shapes=shapes)
    write(program, path, ["input_ids"], ["context"])
    tokenizer.save_pretrained(path.with_name(f"{path.stem}_tokenizer"))
    return path
