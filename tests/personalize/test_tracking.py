"""Experiment trackers of a personalization, read back from TensorBoard's event files."""

import json
import os
import signal

import pytest

from tadp_personalize import TextualInversionConfig, textual_inversion

CONFIG = {"steps": 4, "batch_size": 2, "learning_rate": 3e-3, "save_every": 2, "sample_every": 2, "accumulate": 1}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of tensorboard's own imports
def test_losses_and_sheets_are_recorded_once_over_a_resume(pipe, pictures, make_pictures, tmp_path):
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the extra tadp-personalize[tensorboard]"
    )
    config = TextualInversionConfig(**CONFIG, held_out_timesteps=1, log_with=("tensorboard",))
    how = {"config": config, "out": tmp_path, "held_out": make_pictures(3, seed=9)}

    def stop(done, steps, loss):
        if done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    assert not textual_inversion(pipe, pictures, **how, progress=stop).finished
    result = textual_inversion(pipe, pictures, **how, resume=True)
    found = events.EventAccumulator(str(tmp_path / "tracking" / "tensorboard"), size_guidance={"images": 0}).Reload()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [(event.step, event.value) for event in found.Scalars("train/loss")]
    assert losses == [(line["step"], pytest.approx(line["loss"], rel=1e-5)) for line in lines]
    (after,) = found.Scalars("held_out/plain_after")
    assert (after.step, after.value) == (4, pytest.approx(result.after["plain"], rel=1e-5))
    assert [event.step for event in found.Images("samples")] == [2, 4, 4], "two sheets on the way, and the last one"


def test_a_tracker_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match=r"unknown tracker in log_with 'board'; choose from .*tensorboard"):
        TextualInversionConfig(log_with=("board",))
