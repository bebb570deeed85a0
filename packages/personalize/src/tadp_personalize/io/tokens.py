"""A placeholder token: its rows of the embedding while they train, its file, and putting it into a model."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from tadp_personalize._format import check_format
from tadp_personalize._io import replacing
from tadp_personalize._read_errors import reading
from tadp_personalize.hub.repository import local_folder
from tadp_personalize.io.pipeline_parts import identity_of

EMBEDDINGS_FILE = "learned_embeds.safetensors"
CARD_DATA_FILE = "personalization.json"
FORMAT = 1
"""Of learned tokens and LoRAs, and of their card."""
FORMAT_KEY = "tadp_format"
"""Of the header of .safetensors, where "format" is safetensors' own."""
_FIX = "copy it again from where it was made"


def token_names(token: str, vectors: int) -> list[str]:
    """Return the names under which diffusers knows the token's vectors: t, t_1, t_2, ..."""
    return [token, *(f"{token}_{i}" for i in range(1, vectors))]


def expand_prompt(prompt: str, tokenizer: CLIPTokenizer) -> str:
    """Put all vectors of multi-vector tokens into the prompt, as the pipelines do: "a <x>" -> "a <x> <x>_1"."""
    vocabulary = tokenizer.get_added_vocab()
    for token in sorted((t for t in vocabulary if f"{t}_1" in vocabulary), key=len, reverse=True):
        count = next(i for i in range(1, len(vocabulary) + 1) if f"{token}_{i}" not in vocabulary)
        prompt = prompt.replace(token, " ".join(token_names(token, count)))
    return prompt


def add_token(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, token: str, rows: Tensor) -> list[int]:
    """Add the token with its vectors (n, D); return the vectors' ids. The embedding's other rows stay bit-equal."""
    check_token(tokenizer, token)
    names = token_names(token, len(rows))
    tokenizer.add_tokens(names)
    ids = tokenizer.convert_tokens_to_ids(names)
    if tokenizer(" ".join(names), add_special_tokens=False).input_ids != ids:
        raise ValueError(f"token {token!r} is not recognised in a prompt; use lower case, as in '<watercolor>'")
    embedding = text_encoder.get_input_embeddings()
    if max(ids) >= embedding.num_embeddings:
        text_encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        embedding = text_encoder.get_input_embeddings()
    with torch.no_grad():
        embedding.weight[ids] = rows.to(embedding.weight)
    return ids


def check_token(tokenizer: CLIPTokenizer, token: str) -> None:
    """Raise unless `token` is a word of its own that the tokenizer doesn't know."""
    if not token or token != token.strip() or len(token.split()) != 1:
        raise ValueError(f"token {token!r} must be one word without spaces, for example '<watercolor>'")
    if token in tokenizer.get_vocab():
        other = f"<{token.strip('<>')}-look>"
        raise ValueError(
            f"token {token!r} is already in the tokenizer's vocabulary; choose another, for example {other!r}"
        )


def initial_rows(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, words: str, vectors: int) -> Tensor:
    """Return the rows (n, D) to start from: those of the words' tokens, averaged in groups if more than vectors."""
    ids = tokenizer(words, add_special_tokens=False).input_ids
    if not ids:
        raise ValueError(
            f"initial word {words!r} has no tokens; give a word close to the domain, for example 'watercolor'"
        )
    groups = (
        np.array_split(np.array(ids), vectors) if len(ids) >= vectors else [[ids[i % len(ids)]] for i in range(vectors)]
    )
    weight = text_encoder.get_input_embeddings().weight.detach()
    return torch.stack([weight[torch.as_tensor(group)].float().mean(0) for group in groups])


class LearnedRows(nn.Module):
    """The token's vectors, apart from the embedding: its other rows get neither gradient, decay nor rounding."""

    ids: Tensor

    def __init__(self, rows: Tensor, ids: list[int]) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows.clone().float())  # (n, D)
        self.register_buffer("ids", torch.tensor(ids), persistent=False)

    @contextmanager
    def in_place_of(self, embedding: nn.Embedding) -> Iterator[None]:
        """Within, the embedding returns these rows for these ids."""
        handle = embedding.register_forward_hook(self._substitute)
        try:
            yield
        finally:
            handle.remove()

    def _substitute(self, module: nn.Embedding, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        hits = args[0].unsqueeze(-1) == self.ids  # (B, T, n)
        learned = hits.to(self.rows.dtype) @ self.rows  # (B, T, D)
        return torch.where(hits.any(-1, keepdim=True), learned.to(output.dtype), output)


def save_token(path: Path, token: str, rows: Tensor, base_identity: str) -> None:
    """Write {"token": (n, D)} as diffusers reads it; the base model's identity goes into the header."""
    with replacing(path) as partial:
        save_file(
            {token: rows.detach().float().cpu().contiguous()},
            partial,
            metadata={"base": base_identity, "format": "pt", FORMAT_KEY: str(FORMAT)},
        )


def load_token(
    path: str | PathLike,
    *,
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    unet: nn.Module | None = None,
    revision: str | None = None,
) -> str:
    """Add the token in `path` to a model; return its name.

    `path`: a file, a folder, or a repository owner/name of the hub, at `revision`. ValueError for vectors of another
    width, a token that the tokenizer knows, and with `unet` for another base model.
    """
    place = local_folder(Path(path), revision=revision)
    file = place / EMBEDDINGS_FILE if place.is_dir() else place
    if not file.is_file():
        raise ValueError(f"{file} does not exist; give a {EMBEDDINGS_FILE} or the folder it is in")
    if unet is not None:
        check_base(file, unet=unet, text_encoder=text_encoder)
    _header(file)
    with reading(file, _FIX):
        tensors = load_file(file)
    names = list(tensors)
    if len(names) != 1 or tensors[names[0]].ndim not in (1, 2):
        raise ValueError(f"{file} holds {len(names)} tensors, expected one (n, D), named by its token")
    if not tensors[names[0]].numel():
        raise ValueError(f"{file} holds no vectors for {names[0]!r}; learn the token again")
    rows = torch.atleast_2d(tensors[names[0]])
    width = text_encoder.get_input_embeddings().embedding_dim
    if rows.shape[1] != width:
        raise ValueError(
            f"{file} holds vectors of {rows.shape[1]} numbers, this text encoder's have {width}; load the base model "
            "that it was learned on"
        )
    add_token(tokenizer, text_encoder, names[0], rows)
    return names[0]


def check_base(path: str | PathLike, *, unet: nn.Module, text_encoder: nn.Module) -> None:
    """Raise ValueError unless what lies at `path` (a file, or a folder of this package) was made on this very model."""
    made_on = base_of(path)
    here = identity_of(unet, text_encoder)
    if made_on is None:
        raise ValueError(
            f"{path} doesn't say on which model it was made; load it with diffusers if you know that it fits"
        )
    if made_on != here:
        raise ValueError(
            f"{path} was made on another base model ({made_on}, this one is {here}); load the base that its card names"
        )


def base_of(path: str | PathLike) -> str | None:
    """Return the identity of the model that a file, or a folder written by this package, was made on.

    None for files of others, which don't say.
    """
    path = Path(path)
    if path.is_dir():
        card = path / CARD_DATA_FILE
        if not card.is_file():
            raise ValueError(
                f"{path} has no {CARD_DATA_FILE}; give a folder written by textual_inversion or dreambooth"
            )
        with reading(card, _FIX):
            data = json.loads(card.read_text(encoding="utf-8"))
            version, identity = data.get("format"), str(data["base"]["identity"])
        check_format(version, FORMAT, card)
        return identity
    return _header(path).get("base") if path.suffix == ".safetensors" else None


def _header(file: Path) -> dict[str, str]:
    """The header of a .safetensors file, of a format that this code reads."""
    with reading(file, _FIX), safe_open(file, framework="pt") as tensors:
        header = tensors.metadata() or {}
    check_format(header.get(FORMAT_KEY), FORMAT, file)
    return header
