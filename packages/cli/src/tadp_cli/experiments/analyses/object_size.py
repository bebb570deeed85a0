"""Figure S6: the relative size of a class in an image against its IoU there."""

from tadp_cli.experiments.analyses.regression import fit_line
from tadp_cli.experiments.analyses.setting import Findings, Setting
from tadp_cli.report.charts import Scatter, scatter_figure
from tadp_heads.data.class_names import is_background
from tadp_heads.segmentation.per_image import per_image_metrics


def analyze(setting: Setting) -> Findings:
    """One point per class and image, without the background: its share of the pixels and its IoU."""
    opened = setting.open_run("caption")
    sizes, scores = [], []
    for number, measured in enumerate(per_image_metrics(opened.model, opened.dataset, opened.context), start=1):
        for name, area in measured.areas.items():
            if not is_background(name):
                sizes.append(area)
                scores.append(measured.iou[name])
        setting.report("object-size", number, len(opened.dataset))
    line = fit_line(sizes, scores)
    scatter_figure(
        setting.figure("object-size"),
        Scatter(sizes, scores, line.slope, line.intercept, f"{line}"),
        x="pixels of the class / pixels of the image",
        y="IoU of the class in the image",
        title="Object size against IoU",
    )
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    thirds = [order[i * len(order) // 3 : (i + 1) * len(order) // 3] for i in range(3)]
    rows = []
    for name, own in zip(("smallest third", "middle third", "largest third"), thirds, strict=True):
        spans = f"{100 * sizes[own[0]]:.1f} to {100 * sizes[own[-1]]:.1f} %" if own else ""
        mean = f"{100 * sum(scores[i] for i in own) / len(own):.1f} %" if own else ""
        rows.append((name, spans, str(len(own)), mean))
    return Findings(
        numbers={**line.as_dict(), "size": sizes, "IoU": scores},
        columns=("objects", "relative size", "how many", "mean IoU"),
        rows=rows,
        remark=f"Linear regression of IoU on relative size: {line}.",
    )
