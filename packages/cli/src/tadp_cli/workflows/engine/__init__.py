"""The training engine: what `workflows.training` composes into a run."""

from tadp_cli.workflows.engine.loop import SEED_LIMIT, StoppedError, fit, make_accelerator

__all__ = ["SEED_LIMIT", "StoppedError", "fit", "make_accelerator"]
