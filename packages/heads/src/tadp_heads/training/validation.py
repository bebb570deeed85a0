"""Evaluation of the model during a run."""

from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from tadp_heads.training.config import TrainConfig
from tadp_heads.training.metrics_log import METRICS_FILE, add_metrics, read_steps
from tadp_heads.training.tracking.trackers import Trackers

OnEvaluate = Callable[[int, dict[str, float]], None]
"""Called by the first process with the number of steps done and the metrics; the model has the weights that would be
saved now."""


class Validation:
    """Evaluates every `eval_every` steps; the last step is left to whoever ends the run."""

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        evaluate: Callable[[], dict[str, float]] | None,
        on_evaluate: OnEvaluate | None = None,
        record: Trackers | None = None,
        panel: Callable[[], Image.Image] | None = None,
    ):
        """`evaluate` is called by all processes, and gives the metrics of the model as it then is.

        `record` gets them too, and what `panel` draws.
        """
        self.config, self.out, self.evaluate, self.on_evaluate = config, out, evaluate, on_evaluate
        self.record, self.panel = record, panel

    def due(self, step: int) -> bool:
        """Whether the model after `step` steps is to be evaluated, and has not been before a resume."""
        every = self.config.eval_every
        if self.evaluate is None or not every or step % every or step == self.config.steps:
            return False
        return all(row["step"] != step for row in read_steps(self.out / METRICS_FILE) if "val" in row)

    def __call__(self, step: int, main: bool) -> None:
        """Evaluate, where there is something to evaluate with; the first process, `main`, writes the metrics."""
        if self.evaluate is None:
            return
        metrics = self.evaluate()
        if main and self.on_evaluate is not None:
            self.on_evaluate(step, metrics)
        if main:
            add_metrics(self.out, {"step": step, "val": metrics})
            record_validation(self.record, step, metrics, self.panel)


def record_validation(
    record: Trackers | None, step: int, metrics: Mapping[str, float], panel: Callable[[], Image.Image] | None
) -> None:
    """Have trackers record the metrics after `step` steps, and the panel where there is one."""
    if record is None or not record.names:
        return
    record.log(step, {f"val/{name}": value for name, value in metrics.items()})
    if panel is not None:
        record.image(step, "val/predictions", panel())
