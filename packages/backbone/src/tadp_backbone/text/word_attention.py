"""Which tokens of a prompt are a word, and where in the image the word attends."""

# T tokens of the context, H W image pixels, h w cells of a map

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPTokenizer

from ..features import Features
from .encoder import max_tokens, word_ids

_WORD_END = "</w>"
# fmt: off
_FUNCTION_WORDS = frozenset((
    "a", "an", "the", "this", "that", "these", "those", "some", "any", "each", "every", "and", "or", "but", "nor",
    "so", "of", "in", "on", "at", "by", "for", "with", "without", "from", "to", "into", "onto", "over", "under",
    "above", "below", "near", "next", "behind", "before", "after", "between", "beside", "among", "around", "along",
    "across", "through", "is", "are", "was", "were", "be", "been", "being", "am", "has", "have", "had", "do",
    "does", "did", "there", "here", "it", "its", "he", "she", "his", "her", "they", "their", "them", "we", "our",
    "you", "your", "i", "my", "as", "than", "while", "which", "who", "whose", "where", "what", "very",
))
# fmt: on


@dataclass(frozen=True)
class Word:
    """A word of a prompt."""

    text: str
    indices: tuple[int, ...]
    """Its tokens' positions in the context; 0 is the begin token."""

    @property
    def has_content(self) -> bool:
        """Whether it names or describes something: no article, preposition, conjunction, pronoun or auxiliary verb."""
        return self.text.lower() not in _FUNCTION_WORDS and any(letter.isalnum() for letter in self.text)


def words_of(tokenizer: CLIPTokenizer, text: str) -> list[Word]:
    """The words of a prompt in order, sub-tokens merged; a learned token of several vectors is one word.

    Words beyond the context's length are not in it.
    """
    ids = word_ids(tokenizer, text)[: max_tokens(tokenizer) - 2]
    added = tokenizer.get_added_vocab()
    words: list[Word] = []
    open_word = False
    for position, (number, token) in enumerate(zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True), start=1):
        learned = token in added
        continues = open_word and not learned
        if learned and words and token.startswith(f"{words[-1].text}_"):
            words[-1] = Word(words[-1].text, (*words[-1].indices, position))
        elif continues:
            numbers = (*words[-1].indices, position)
            words[-1] = Word(tokenizer.decode([ids[i - 1] for i in numbers]).strip(), numbers)
        else:
            words.append(Word(token if learned else tokenizer.decode([number]).strip(), (position,)))
        open_word = not learned and not token.endswith(_WORD_END)
    return words


def find_word(tokenizer: CLIPTokenizer, text: str, word: str) -> Word:
    """The first place of a word, or of several in a row ("potted plant"), in a prompt."""
    words = words_of(tokenizer, text)
    wanted = [w.text for w in words_of(tokenizer, word)]
    for start in range(len(words) - len(wanted) + 1):
        span = words[start : start + len(wanted)]
        if wanted and [w.text for w in span] == wanted:
            return Word(word, tuple(index for w in span for index in w.indices))
    raise ValueError(f"{word!r} is not in the prompt {text!r}; its words are {', '.join(w.text for w in words)}")


def heat_maps(features: Features, words: Sequence[Word], *, image: int = 0) -> Tensor:
    """Where each word attends in one image of the batch -> (words, H, W), probabilities in [0, 1].

    A word's tokens are summed; strides are upsampled bilinearly to pixels and averaged.
    """
    if not features.attention:
        raise ValueError("these features have no attention maps: set map_strides in the backbone's config")
    height, width = features.image_size
    pixels = []
    for stride, maps in features.attention.items():
        tokens = maps.shape[1]
        for word in words:
            if max(word.indices) >= tokens:
                raise ValueError(f"{word.text!r} is token {max(word.indices)}, the context has {tokens} tokens")
        cells = torch.stack([maps[image, list(word.indices)].sum(0) for word in words])  # (words, h, w)
        size = (cells.shape[1] * stride, cells.shape[2] * stride)
        grown = F.interpolate(cells[None].float(), size=size, mode="bilinear", align_corners=False)[0]
        pixels.append(grown[:, :height, :width])
    return torch.stack(pixels).mean(0)
