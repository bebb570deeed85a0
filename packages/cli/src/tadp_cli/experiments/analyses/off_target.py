"""Figure S4: a model trained with oracle prompts, given the names of all classes: which classes are confused."""

import torch
from torch import Tensor

from tadp_captioning import class_names_prompt
from tadp_cli.experiments.analyses.setting import Findings, Setting
from tadp_cli.pipelines.evaluate import OpenedRun
from tadp_cli.report.charts import Matrix, matrices_figure
from tadp_heads.data.class_names import listed_names
from tadp_heads.data.sample import IGNORE_INDEX
from tadp_heads.preprocessing import RANGES, resize_maps, size_of
from tadp_heads.segmentation.protocol import get_protocol, predict_probabilities

# K classes, P pixels, H W image pixels
_PAIRS = 5
"""Rises that are named."""
_TITLES = {"present": "prompt: classes present", "all": "prompt: all classes"}


def analyze(setting: Setting) -> Findings:
    """Mean softmax probabilities over the pixels of each class, under a prompt of the classes present and of all."""
    opened = setting.open_run("oracle")
    sums, off_target, pixels = _summed(setting, opened)
    seen = pixels > 0
    classes = [name for name, there in zip(opened.dataset.classes, seen, strict=True) if there]
    shown = {kind: (total / pixels[:, None])[seen][:, seen] for kind, total in sums.items()}
    matrices_figure(
        setting.figure("off-target"),
        [Matrix(_TITLES[kind], matrix.tolist()) for kind, matrix in shown.items()],
        classes,
        note="Mean softmax score over the pixels of a class: rows are the truth, columns what is predicted.",
    )
    numbers = {
        kind: {"right": float(matrix.diag().mean()), "off_target": off_target[kind] / float(pixels.sum())}
        for kind, matrix in shown.items()
    }
    return Findings(
        numbers={**numbers, "rises": _rises(shown, classes), "matrices": {k: m.tolist() for k, m in shown.items()}},
        columns=("prompt", "score of the right class", "scores of absent classes"),
        rows=[(_TITLES[k], *(f"{100 * value:.1f} %" for value in n.values())) for k, n in numbers.items()],
        remark="Largest rises: " + "; ".join(_described(*rise) for rise in _rises(shown, classes)),
    )


def _summed(setting: Setting, opened: OpenedRun) -> tuple[dict[str, Tensor], dict[str, float], Tensor]:
    """By kind of prompt, sums of scores (K, K) and of those of absent classes; pixels of each class (K,)."""
    dataset = opened.dataset
    count = len(dataset.classes)
    everything = class_names_prompt(listed_names(dataset.prompt_names))
    sums = {kind: torch.zeros(count, count, dtype=torch.double) for kind in _TITLES}
    off_target = dict.fromkeys(sums, 0.0)
    pixels = torch.zeros(count, dtype=torch.double)
    for number, image_id in enumerate(dataset.ids, start=1):
        sample = dataset.read(image_id)
        truth = sample.target.as_subclass(Tensor)
        valid = truth != IGNORE_INDEX
        ids = truth[valid]
        absent = torch.ones(count, dtype=torch.bool)
        absent[ids.unique()] = False
        pixels += ids.bincount(minlength=count)
        for kind, text in (("present", opened.prompts.texts[image_id]), ("all", everything)):
            scores = _probabilities(opened, sample.image, text, size_of(truth))[:, valid].T.double()  # (P, K)
            sums[kind].index_add_(0, ids, scores)
            off_target[kind] += float(scores[:, absent].sum())
        setting.report("off-target", number, len(dataset))
    return sums, off_target, pixels


def _rises(shown: dict[str, Tensor], classes: list[str]) -> list[tuple[str, str, float, float]]:
    """(truth, predicted, probability under the classes present, under all), the largest increases first."""
    rise = shown["all"] - shown["present"]
    rise.fill_diagonal_(-1)
    found = []
    for place in rise.flatten().argsort(descending=True)[:_PAIRS].tolist():
        row, column = divmod(place, len(classes))
        scores = (float(shown[kind][row, column]) for kind in ("present", "all"))
        found.append((classes[row], classes[column], *scores))
    return found


def _described(truth: str, predicted: str, before: float, after: float) -> str:
    return f"{truth} for {predicted} {100 * before:.1f} to {100 * after:.1f} %"


@torch.no_grad()
def _probabilities(opened: OpenedRun, image: Tensor, text: str, size: tuple[int, int]) -> Tensor:
    """(K, H, W) of one image (3, H, W) under a prompt, modifier and all."""
    model = opened.model
    protocol = get_protocol(model.config.protocol or "whole")
    context = model.backbone.encode_text([text])
    pixels = image.as_subclass(Tensor)[None]
    images = RANGES[model.config.image_range](pixels).to(model.device)
    multiple = model.size_multiple
    extract = model.extractor(pixels, context.to(model.device))
    found = predict_probabilities(lambda x: model.head(tuple(extract(x))), images, protocol, multiple)
    return resize_maps(found, size)[0].cpu()
