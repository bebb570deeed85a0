"""Self-prompting as an image tagger: the classes in masks that the model itself predicts."""

# B images, N of them in the data set, K classes, H W image pixels

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tadp_heads.data import SampleDataset
from tadp_heads.preprocessing import RANGES
from tadp_heads.tagging.self_prompting import SelfPrompting
from tadp_heads.tagging.taggers import Captions, Report, reading
from tadp_heads.tagging.train_passes import Choose, PassSettings, train_self_prompting
from tadp_heads.training.dataset import check_one_size


class OwnMask:
    """Implements `tadp_heads.tagging.taggers.Tagger`."""

    learned: SelfPrompting
    """Set when it is trained or read from a run."""

    def __init__(
        self, backbone: Any, words: Mapping[str, Sequence[str]], image_range: str, *, by_class: bool, captioned: bool
    ):
        """`backbone` and `words` as of FirstPass. `by_class`: one map per class, not one per token. `captioned`:
        whether the first mask is predicted under the caption, or under no words."""
        self.backbone, self.names, self.captioned = backbone, tuple(words), captioned
        self.normalise = RANGES[image_range]
        self.words = tuple(map(tuple, words.values())) if by_class else ()

    @property
    def levels(self) -> Any:
        """The feature levels that its heads read, finest first."""
        with reading(self.backbone, class_words=self.words, class_input="maps"):
            return self.backbone.levels

    def extract(self, images: Tensor, texts: Sequence[str]) -> Any:
        """Images (B, 3, H, W) in the backbone's range, a prompt each -> levels (B, C, h, w), finest first."""
        with reading(self.backbone, class_words=self.words, class_input="maps"):
            return self.backbone(images, self.backbone.encode_text(list(texts))).levels

    def probabilities(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        images = self.normalise(images.to(self.backbone.device))
        return self.learned.probabilities(images, self._texts(captions), self.extract)

    def train(
        self,
        dataset: SampleDataset,
        captions: Captions | None,
        present: Tensor,
        *,
        build_head: Callable[..., nn.Module],
        choose: Choose,
        settings: PassSettings,
        report: Report,
    ) -> Tensor:
        """Train `learned` on the data set; its out-of-fold probabilities of the training images (N, K).

        `present` (N, K): labels of 0 and 1. `build_head(levels, classes)` makes a head. All images are held in memory;
        ValueError where their sizes differ.
        """
        samples = [dataset.read(image_id) for image_id in dataset.ids]
        check_one_size({(sample.image.shape[-2], sample.image.shape[-1]) for sample in samples})
        images = torch.stack([sample.image.as_subclass(Tensor) for sample in samples])
        levels = self.levels
        self.learned, found = train_self_prompting(
            self.normalise(images.to(self.backbone.device)),
            torch.stack([sample.target.as_subclass(Tensor) for sample in samples]),
            self._texts(["" if captions is None else captions[image_id] for image_id in dataset.ids]),
            present,
            names=self.names,
            labels=tuple(dataset.prompt_names.index(name) for name in self.names),
            build_head=lambda: build_head(levels, dataset.classes),
            extract=self.extract,
            choose=choose,
            settings=settings,
            report=report,
        )
        return found

    def _texts(self, captions: Sequence[str]) -> list[str]:
        """The prompts of the first pass."""
        return list(captions) if self.captioned else [""] * len(captions)
