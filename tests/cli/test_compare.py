"""Runs side by side: what shares a line of the table, and how data sets are named."""

from tadp_cli.config.recipe import Recipe
from tadp_cli.experiments.compare import rows_of_runs
from tadp_cli.run.run import Run
from tadp_heads.atomic_files import write_json


def _run(folder, score, data, **changes):
    Run(folder).begin(Recipe().replace(**{"prompt.kind": "oracle", **changes}))
    entries = [{"data": where, "split": "test", "metrics": {"mIoU": score + i}} for i, where in enumerate(data)]
    write_json(folder / "results.json", {"evaluations": entries})
    return folder


def test_seeds_share_a_line_and_other_settings_do_not(tmp_path):
    runs = [_run(tmp_path / str(seed), 0.1 * seed, ["photo"], **{"train.seed": seed}) for seed in (1, 2)]
    assert {row["prompt"] for row in rows_of_runs(runs)} == {"oracle"}
    runs.append(_run(tmp_path / "longer", 0.9, ["photo"], **{"train.steps": 9999}))
    assert [row["prompt"] for row in rows_of_runs(runs)] == [f"oracle: {run}" for run in runs]


def test_data_sets_of_one_folder_name_are_distinguished(tmp_path):
    data = ["a/photo", "b/photo", "c/night", "watercolor2k:d/dt", "comic2k:d/dt"]
    rows = rows_of_runs([_run(tmp_path / "run", 0.0, data)])
    assert [row["test"] for row in rows] == [
        "a/photo/test",
        "b/photo/test",
        "night/test",
        "watercolor2k:dt/test",
        "comic2k:dt/test",
    ]
    assert [row["metrics"]["mIoU"] for row in rows] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_split_that_was_evaluated_twice_counts_once_with_its_last_metrics(tmp_path):
    rows = rows_of_runs([_run(tmp_path / "run", 0.0, ["photo", "photo"])])
    assert [row["metrics"]["mIoU"] for row in rows] == [1.0]


def test_metrics_are_known_for_captions_of_the_same_cleaner(tmp_path):
    """Those of captions that the rules cleaned were once taken for a model's."""
    entry = {"data": "/photo", "split": "test", "metrics": {"mIoU": 0.5}, "cleaner": "rules"}
    write_json(tmp_path / "results.json", {"evaluations": [entry]})
    place = ("/photo", "test", "", "", "")
    assert Run(tmp_path).metrics_at(place, "rules") == {"mIoU": 0.5}
    assert Run(tmp_path).metrics_at(place, "openai:mine") is None
    assert Run(tmp_path).metrics_at(("/photo", "val", "", "", ""), "rules") is None
