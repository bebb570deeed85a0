"""Which classes a captioner thinks of while it writes, whether it then names them or not."""

# B images, S words written so far, V vocabulary, K classes

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tadp_captioning.mentions.words import class_words

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class WordProbabilities:
    """For each class the largest probability of its name, a plural or a synonym as the next word of the caption.

    A greedy caption keeps only the likeliest word of each place; a class that was the second guess is lost in it. A
    name of several tokens counts by its first one, which classes whose names begin alike share.
    """

    def __init__(self, captioner: Any, names: Sequence[str]):
        """`captioner`: one of `load_captioner` that runs here; servers do not return probabilities."""
        if not hasattr(captioner, "model"):
            raise ValueError(f"captioner {captioner.name!r} runs on a server, which returns no word probabilities")
        self.captioner, self.names = captioner, tuple(names)
        self._tokens = [self._first_tokens(name) for name in self.names]

    def probabilities(self, images: "Sequence[Image]") -> "Tensor":
        """-> (B, K) in [0, 1], on the CPU."""
        import torch

        parts = []
        for start in range(0, len(images), self.captioner.batch_size):
            parts.append(self._batch(images[start : start + self.captioner.batch_size]))
        return torch.cat(parts)

    def _batch(self, images: "Sequence[Image]") -> "Tensor":
        import torch

        model, generation = self.captioner.model, self.captioner.generation
        inputs = self.captioner.prepare(images).inputs.to(model.device, model.dtype)
        with torch.inference_mode():
            written = model.generate(
                **inputs,
                min_new_tokens=generation.min_new_tokens,
                max_new_tokens=generation.max_new_tokens,
                return_dict_in_generate=True,
                output_scores=True,
            )
        probabilities = torch.stack(written.scores, 1).float().softmax(-1)  # (B, S, V)
        ends = torch.as_tensor(model.generation_config.eos_token_id, device=probabilities.device).reshape(-1)
        over = torch.isin(written.sequences[:, -probabilities.shape[1] :], ends).cumsum(1) > 0
        probabilities = probabilities.masked_fill(over[:, :, None], 0)
        return torch.stack([probabilities[:, :, tokens].sum(-1).amax(1) for tokens in self._tokens], 1).cpu()

    def _first_tokens(self, name: str) -> list[int]:
        tokenizer = self.captioner.processor.tokenizer
        words = (tokenizer(f" {word}", add_special_tokens=False).input_ids for word in class_words(name))
        return sorted({tokens[0] for tokens in words})
