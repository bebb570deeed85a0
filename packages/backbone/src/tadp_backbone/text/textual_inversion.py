"""Learned tokens (Textual Inversion): files in, rows of the text encoder's embedding out."""

# n vectors of a token, D width of the text encoder

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from .._format import check_format
from ..io.files import read_metadata, read_safetensors
from ..ldm.checkpoint import looks_like, read_pickle

FORMAT = 1
"""Of the tokens that tadp wrote, as the header of their files says."""


def read_tokens(file: Path, token: str | None = None) -> dict[str, Tensor]:
    """{token: (n, D)} of a file, or of a folder with learned_embeds in it.

    Formats: diffusers' learned_embeds {token: (D,) or (n, D)} as .safetensors or .bin; A1111's .pt (its "name", or
    the file's, becomes the token) and .safetensors ("emb_params", the file's name becomes the token).
    """
    if file.is_dir():
        there = [file / f"learned_embeds{suffix}" for suffix in (".safetensors", ".bin")]
        file = next((path for path in there if path.is_file()), there[0])
    if not file.is_file():
        raise ValueError(f"no such file of learned tokens: {file}")
    content = _read_safetensors(file) if file.suffix == ".safetensors" else read_pickle(file)
    if not isinstance(content, Mapping):
        raise ValueError(f"{file} holds a {type(content).__name__}, expected learned tokens by name")
    if "string_to_param" in content:
        vectors = next(iter(content["string_to_param"].values()))
        found = {token or content.get("name") or file.stem: vectors}
    elif set(content) == {"emb_params"}:
        found = {token or file.stem: content["emb_params"]}
    elif content and all(isinstance(vectors, Tensor) and vectors.ndim <= 2 for vectors in content.values()):
        found = dict(content)
        if token is not None:
            if len(found) != 1:
                raise ValueError(f"{file} has {len(found)} tokens ({', '.join(found)}): a single name does not fit")
            found = {token: next(iter(found.values()))}
    else:
        raise ValueError(f"{file} holds no learned tokens; it looks like {looks_like(map(str, content))}")
    empty = [token for token, vectors in found.items() if not vectors.numel()]
    if empty:
        raise ValueError(f"{file} holds no vectors for {', '.join(map(repr, empty))}; learn the token again")
    return {name: torch.atleast_2d(vectors.detach()) for name, vectors in found.items()}


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file of other tools, or of one that tadp wrote in a format that this code reads."""
    check_format(read_metadata(file).get("tadp_format"), FORMAT, file)
    return read_safetensors(file)


def add_tokens(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, tokens: Mapping[str, Tensor]) -> list[str]:
    """Give each token n rows, named "<x>", "<x>_1", ... as diffusers does; nothing changes when one cannot be added."""
    width = text_encoder.config.hidden_size
    rows: dict[str, Tensor] = {}
    known = tokenizer.get_vocab()
    for token, vectors in tokens.items():
        if vectors.shape[1] != width:
            raise ValueError(f"token {token!r} has vectors of {vectors.shape[1]}, this text encoder's have {width}")
        names = [token, *(f"{token}_{i}" for i in range(1, len(vectors)))]
        for name in names:
            if name in known or f"{name}</w>" in known or name in rows:
                raise ValueError(f"token {name!r} is in the vocabulary already; load it under another name")
        rows.update(zip(names, vectors, strict=True))
    tokenizer.add_tokens(list(rows))
    # A vocabulary may lie in a longer table (padded to a multiple): it is never made shorter.
    table = text_encoder.get_input_embeddings()
    if len(tokenizer) > table.num_embeddings:
        text_encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        table = text_encoder.get_input_embeddings()
    with torch.no_grad():
        for name, vector in rows.items():
            table.weight[tokenizer.convert_tokens_to_ids(name)] = vector.to(table.weight)
    table.weight.requires_grad_(False)
    return list(tokens)
