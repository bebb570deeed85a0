"""The paper's Figures 4 and S1 to S6 as analyses: numbers and a figure each, on Scenes or a user's data.

Each module has `analyze(setting) -> Findings` and writes its figure to `setting.figure(name)`.
"""

from typing import NamedTuple


class Analysis(NamedTuple):
    module: str
    """Below this package."""
    figure: str
    """Of the paper."""
    title: str


ANALYSES = {
    "attention": Analysis("attention", "Fig. 4", "attention by kind of prompt, before training"),
    "variation": Analysis("variation", "Fig. S1", "image variation under class names and under a caption"),
    "copy-paste": Analysis("copy_paste", "Fig. S2", "where a word attends before and after its object is pasted in"),
    "averaging": Analysis("averaging", "Fig. S3", "end tokens averaged over templates against one template's"),
    "off-target": Analysis("off_target", "Fig. S4", "an oracle's model given all class names: who is taken for whom"),
    "recall": Analysis("recall", "Fig. S5", "recall of an image's classes in its caption against its mIoU"),
    "object-size": Analysis("object_size", "Fig. S6", "relative size of a class in an image against its IoU"),
}
