"""A panel of validation images with their predictions, as experiment trackers show it."""

import torch
from einops import rearrange
from PIL import Image

from tadp_heads.data import SampleDataset
from tadp_heads.model import PerceptionModel
from tadp_heads.overlay import contact_sheet, draw_legend, stacked
from tadp_heads.precision import in_float32
from tadp_heads.training.protocols import Contexts

COUNT = 4


@in_float32()
@torch.no_grad()
def validation_panel(
    model: PerceptionModel, dataset: SampleDataset, contexts: Contexts, count: int = COUNT
) -> Image.Image:
    """The first `count` images of a split, and below each its prediction, then the colours of the classes.

    Leaves the model in eval mode.
    """
    samples = [dataset[index] for index in range(min(count, len(dataset)))]
    images = [Image.fromarray(rearrange(sample.image, "c h w -> h w c").cpu().numpy()) for sample in samples]
    context = contexts.context([sample.id for sample in samples])
    predictions = model.predict_tensors([sample.image for sample in samples], context, batch_size=1)
    results = [
        model.task.result(image, prediction, model.config.classes, model.config.palette)
        for image, prediction in zip(images, predictions, strict=True)
    ]
    titles = [sample.id for sample in samples] + ["prediction"] * len(samples)
    sheet = contact_sheet([*images, *(result.overlay() for result in results)], titles, columns=len(samples))
    classes, palette = model.config.classes, model.config.palette
    return stacked(sheet, draw_legend(classes, palette, sheet.width)) if classes else sheet
