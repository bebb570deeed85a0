"""Choices of two code paths, such as a batch and one image alone: they may differ where the best two nearly tie.

Matrix products of other sizes add up in another order, and so do other processors; the last bits decide a near tie.
"""

from typing import Any, NamedTuple

from torch import Tensor

CLEAR = 1e-3
"""A difference of logits that float32 rounding does not turn round."""


def assert_same_ids(found: Tensor, expected: Tensor, *, share: float = 0.99) -> None:
    """Class ids of the same shape, the same at this share of the pixels."""
    assert found.shape == expected.shape
    assert (found == expected).double().mean() >= share


class Greedy(NamedTuple):
    """What a model says of one image alone."""

    caption: str
    sure: str
    """The part before the first token whose logit is less than CLEAR above the second best."""


def greedy(model: Any, tokenizer: Any, **inputs: Any) -> Greedy:
    """By transformers' own `generate`."""
    plain = {"do_sample": False, "num_beams": 1, "output_scores": True, "return_dict_in_generate": True}
    generated = model.generate(**inputs, **plain)
    tokens = generated.sequences[0, -len(generated.scores) :]
    margins = [float(best - second) for best, second in (scores[0].topk(2).values for scores in generated.scores)]
    clear = next((i for i, margin in enumerate(margins) if margin < CLEAR), len(margins))
    caption, sure = (tokenizer.decode(part, skip_special_tokens=True).strip() for part in (tokens, tokens[:clear]))
    return Greedy(caption, sure)


def assert_same_captions(captions: list[str], expected: list[Greedy]) -> None:
    """Equal, or at least as far as rounding cannot matter; most must be sure."""
    assert sum(one.sure == one.caption for one in expected) > len(expected) / 2
    for caption, one in zip(captions, expected, strict=True):
        assert caption.startswith(one.sure)
        assert caption == one.caption or one.sure != one.caption
