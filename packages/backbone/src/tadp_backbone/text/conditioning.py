"""Text conditionings of the UNet from the literature, by their names."""

# B images, T tokens, D width of the text encoder, K class names

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

import torch
from einops import reduce
from torch import Tensor

from .encoder import LongText, TextBackbone, encode_texts, max_tokens, text_parts, tokenize, word_ids


def caption_context(backbone: TextBackbone, captions: Sequence[str], long: LongText = "truncate") -> Tensor:
    """One caption per image (paper, section 4.1) -> (B, 77, D); (B, 77 times chunks, D) with `long="chunk"`."""
    return encode_texts(*text_parts(backbone), captions, long)


def class_names_context(backbone: TextBackbone, class_names: Sequence[str], long: LongText = "truncate") -> Tensor:
    """All names in one string, "background airplane ..." (paper, Fig. S1) -> (1, 77, D) for every image, or chunks."""
    return encode_texts(*text_parts(backbone), [" ".join(class_names)], long)


def class_embs_context(backbone: TextBackbone, class_names: Sequence[str]) -> Tensor:
    """ClassEmbs: each name encoded alone, its word tokens joined (paper, Eq. 2) -> (1, tokens of all names, D).

    Begin, end and padding are left out, as the paper has it; its code keeps the first name's begin token.
    """
    tokenizer, encoder = text_parts(backbone)
    contexts = encode_texts(tokenizer, encoder, class_names)
    lengths = [min(len(word_ids(tokenizer, name)), max_tokens(tokenizer) - 2) for name in class_names]
    return torch.cat([context[1 : 1 + n] for context, n in zip(contexts, lengths, strict=True)])[None]


def averaged_eos_context(
    backbone: TextBackbone, class_names: Sequence[str], templates: Sequence[str] | None = None
) -> Tensor:
    """C_avg: the end token's embedding of each name in each template, averaged over templates -> (1, K, D).

    Not normalised again. `templates`: strings with one {} each, None: CLIP's 80.
    """
    templates = templates or clip_templates()
    return torch.cat([_averaged_eos(backbone, name, templates) for name in class_names])[None]


def empty_context(backbone: TextBackbone) -> Tensor:
    """The empty prompt -> (1, 77, D)."""
    return encode_texts(*text_parts(backbone), [""])


def concatenate(*contexts: Tensor) -> Tensor:
    """(B or 1, T_i, D) each -> (B, sum T_i, D): several conditionings side by side along the tokens; ValueError where
    batch or width differ."""
    batch = max(len(context) for context in contexts)
    shapes = [tuple(context.shape) for context in contexts]
    if any(shape[0] not in (1, batch) or shape[2] != shapes[0][2] for shape in shapes):
        raise ValueError(f"contexts of shapes {shapes} do not join: expected one batch size (or 1) and one width")
    return torch.cat([context.expand(batch, -1, -1) for context in contexts], 1)


CONDITIONINGS: dict[str, Callable[[TextBackbone, Sequence[str]], Tensor]] = {
    "caption": caption_context,
    "class-names": class_names_context,
    "class-embs": class_embs_context,
    "averaged-eos": averaged_eos_context,
    "empty": lambda backbone, _: empty_context(backbone),
}


def build_context(
    backbone: TextBackbone, names: str, *, captions: Sequence[str] = (), class_names: Sequence[str] = ()
) -> Tensor:
    """A conditioning by name, or several joined with +, as "averaged-eos+caption" -> (B or 1, T, D).

    ValueError for an unknown name, and for captions or class names that it needs and that were not given.
    """
    parts = []
    for name in names.split("+"):
        if name not in CONDITIONINGS:
            raise ValueError(f"unknown conditioning {name!r}; choose from {', '.join(CONDITIONINGS)}, joined with +")
        given = captions if name == "caption" else class_names
        if not given and name != "empty":
            raise ValueError(f"conditioning {name!r} needs {'captions' if name == 'caption' else 'class_names'}")
        parts.append(CONDITIONINGS[name](backbone, given))
    return concatenate(*parts)


@cache
def clip_templates() -> tuple[str, ...]:
    """CLIP's 80 prompts for ImageNet, each with one {} for the name."""
    return tuple(files(__package__).joinpath("clip_templates.txt").read_text(encoding="utf-8").splitlines())


def _averaged_eos(backbone: TextBackbone, name: str, templates: Sequence[str]) -> Tensor:
    """-> (1, D)"""
    tokenizer, encoder = text_parts(backbone)
    texts = [template.replace("{}", name) for template in templates]
    ids = tokenize(tokenizer, texts).to(encoder.device)
    # The encoder is causal: what follows the end token does not change it. Cut the padding that all share.
    ends = torch.tensor([1 + min(len(word_ids(tokenizer, text)), ids.shape[1] - 2) for text in texts])
    hidden = encoder(ids[:, : int(ends.max()) + 1]).last_hidden_state
    return reduce(hidden[torch.arange(len(texts)), ends], "template d -> 1 d", "mean")
