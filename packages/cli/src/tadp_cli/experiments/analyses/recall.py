"""Figure S5: the recall of an image's classes in its caption against the image's mIoU."""

from collections.abc import Sequence

from tadp_captioning import CaptionRecord, CaptionStore
from tadp_captioning.mentions.cosine import CosineMentions
from tadp_captioning.stats import class_report
from tadp_cli.experiments.analyses.regression import fit_line
from tadp_cli.experiments.analyses.setting import Findings, Setting
from tadp_cli.pipelines.caption_quality import end_token_encoder
from tadp_cli.pipelines.evaluate import OpenedRun
from tadp_cli.report.charts import Scatter, scatter_figure
from tadp_heads.data.class_names import object_names
from tadp_heads.data.present_classes import present_classes
from tadp_heads.segmentation.per_image import per_image_metrics


def analyze(setting: Setting) -> Findings:
    """One point per image with objects: the share of its classes that the caption names, and its mIoU."""
    opened = setting.open_run("caption")
    dataset = opened.dataset
    present = {image_id: names for image_id, names in present_classes(dataset).items() if names}
    texts = CaptionStore(CaptionRecord(id=i, caption=opened.prompts.texts[i]) for i in dataset.ids)
    mentions = _mentions(setting, opened, object_names(dataset.prompt_names))
    quality = class_report(texts, present, object_names(dataset.prompt_names), mentions=mentions).by_image
    recalls, scores = [], []
    for number, measured in enumerate(per_image_metrics(opened.model, opened.dataset, opened.context), start=1):
        found = quality.get(measured.sample.id)
        if found is not None and found.recall is not None:
            recalls.append(found.recall)
            scores.append(measured.miou)
        setting.report("recall", number, len(dataset))
    line = fit_line(recalls, scores)
    scatter_figure(
        setting.figure("recall"),
        Scatter(recalls, scores, line.slope, line.intercept, f"{line}"),
        x="recall of the image's classes in its caption",
        y="mIoU of the image",
        title="Recall of the caption against mIoU",
    )
    groups = {"0": (-1.0, 0.0), "above 0, below 1": (0.0, 0.999), "1": (0.999, 1.0)}
    rows = []
    for name, (low, high) in groups.items():
        own = [s for r, s in zip(recalls, scores, strict=True) if low < r <= high]
        rows.append((name, str(len(own)), f"{100 * sum(own) / len(own):.1f} %" if own else ""))
    return Findings(
        numbers={**line.as_dict(), "recall": recalls, "mIoU": scores},
        columns=("recall", "images", "mean of the images' mIoU"),
        rows=rows,
        remark=f"Linear regression of mIoU on recall: {line}. A class is named by {_way(setting)}.",
    )


def _mentions(setting: Setting, opened: OpenedRun, names: Sequence[str]) -> CosineMentions | None:
    """As the paper finds named classes, where a cosine is asked for: by the text encoder of the run's backbone."""
    if not setting.cosine:
        return None
    return CosineMentions(names, end_token_encoder(opened.model.backbone), threshold=setting.cosine)


def _way(setting: Setting) -> str:
    if not setting.cosine:
        return "its word, plural or synonym"
    return f"a word whose CLIP embedding has a cosine of at least {setting.cosine:g} with the name's"
