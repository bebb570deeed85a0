"""The training engine: what `pipelines.train` composes into a run."""

from tadp_cli.training.loop import SEED_LIMIT, StoppedError, fit, make_accelerator

__all__ = ["SEED_LIMIT", "StoppedError", "fit", "make_accelerator"]
