"""Strings in, token embeddings out."""

# B texts, T tokens, D width of the text encoder or of the context, K chunks of a long text

import logging
import re
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

LongText = Literal["truncate", "chunk"]
_LEARNED_TOKEN = re.compile(r"<[A-Za-z][\w-]*>")

_log = logging.getLogger(__name__)


class TextBackbone(Protocol):
    """What a conditioning needs of a backbone."""

    tokenizer: CLIPTokenizer | None
    text_encoder: CLIPTextModel | None


def text_parts(backbone: TextBackbone) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Tokenizer and text encoder; raises ValueError where one is missing."""
    if backbone.text_encoder is None or backbone.tokenizer is None:
        missing = "text encoder" if backbone.text_encoder is None else "tokenizer"
        raise ValueError(f"this backbone has no {missing}: give it one, or bring contexts (B, T, D)")
    return backbone.tokenizer, backbone.text_encoder


def encode_texts(
    tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, texts: Sequence[str], long: LongText = "truncate"
) -> Tensor:
    """Last hidden state after the final norm, (B, T, D); T = 77 for CLIP, a multiple of it for chunked long texts."""
    ids = tokenize(tokenizer, texts, long).to(text_encoder.device)
    chunks = ids.shape[1] // max_tokens(tokenizer)
    hidden = text_encoder(rearrange(ids, "b (k t) -> (b k) t", k=chunks)).last_hidden_state
    return rearrange(hidden, "(b k) t d -> b (k t) d", k=chunks)


def encode_two(first: tuple[Any, Any], second: tuple[Any, Any], texts: Sequence[str]) -> Tensor:
    """Texts -> contexts (B, T + 1, D) of Stable Diffusion XL, whose encoders are each (tokenizer, text encoder).

    They are the last but one hidden states of both side by side, and in the last row the second one's pooled
    embedding, padded with zeros.
    """
    hidden = []
    for tokenizer, encoder in (first, second):
        ids = tokenize(tokenizer, texts).to(encoder.device)
        given = encoder(input_ids=ids, output_hidden_states=True)
        hidden.append(given.hidden_states[-2])
    context = torch.cat(hidden, -1)
    pooled = F.pad(given.text_embeds, (0, context.shape[-1] - given.text_embeds.shape[-1]))
    return torch.cat((context, pooled[:, None]), 1)


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str], long: LongText = "truncate") -> Tensor:
    """Token ids (B, T) with begin, end and padding. Longer texts lose their end, or become several such rows joined."""
    if long not in ("truncate", "chunk"):
        raise ValueError(f"long is {long!r}, expected 'truncate' or 'chunk'")
    for text in texts:
        _check_tokens(tokenizer, text)
    room = max_tokens(tokenizer) - 2
    words = [word_ids(tokenizer, text) for text in texts]
    too_long = [ids for ids in words if len(ids) > room]
    chunks = 1
    if too_long and long == "chunk":
        chunks = -(-max(map(len, too_long)) // room)
    elif too_long:
        most = max(map(len, too_long)) - room
        _log.warning(
            "%d of %d texts are longer than %d tokens and lose up to %d", len(too_long), len(texts), room, most
        )
    rows = [_framed(tokenizer, ids[k * room : (k + 1) * room], room) for ids in words for k in range(chunks)]
    return rearrange(torch.tensor(rows), "(b k) t -> b (k t)", k=chunks)


def word_ids(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    """Ids of the text alone: no begin, end or padding, any length."""
    return tokenizer(expand_learned_tokens(tokenizer, text), add_special_tokens=False, verbose=False).input_ids


def expand_learned_tokens(tokenizer: CLIPTokenizer, text: str) -> str:
    """Write out tokens learned as several vectors: "<x>" -> "<x> <x>_1 <x>_2" (diffusers' convention)."""
    added = tokenizer.get_added_vocab()
    for token in added:
        if f"{token}_1" not in added or f"{token}_1" in text:
            continue
        parts = [token]
        while f"{token}_{len(parts)}" in added:
            parts.append(f"{token}_{len(parts)}")
        text = re.sub(re.escape(token) + r"(?!_\d)", " ".join(parts), text)
    return text


def max_tokens(tokenizer: CLIPTokenizer) -> int:
    """Tokens of a context, begin and end counted in: 77 for CLIP."""
    return tokenizer.model_max_length


def _check_tokens(tokenizer: CLIPTokenizer, text: str) -> None:
    """A token like <night> that was never loaded would be read letter by letter, and nobody would notice."""
    added = tokenizer.get_added_vocab()
    for token in _LEARNED_TOKEN.findall(text):
        if token not in added:
            raise ValueError(f"unknown token {token!r} in {text!r}: load it first, backbone.load_tokens(file)")


def _framed(tokenizer: CLIPTokenizer, ids: list[int], room: int) -> list[int]:
    padding = [tokenizer.pad_token_id] * (room - len(ids))
    return [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, *padding]
