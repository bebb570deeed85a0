"""One of the paper's analyses from a setting to files."""

import importlib

from tadp_cli.device import checked_device
from tadp_cli.experiments.analyses import ANALYSES
from tadp_cli.experiments.analyses.setting import Findings, Setting
from tadp_heads.atomic_files import write_json


def check_name(name: str) -> None:
    """That there is such an analysis."""
    if name not in ANALYSES:
        raise ValueError(f"unknown analysis {name!r}; choose from {', '.join(ANALYSES)}")


def run_analysis(name: str, setting: Setting) -> Findings:
    """Writes NAME.png and NAME.json, which has the numbers and what they were measured on, to the setting's folder."""
    check_name(name)
    checked_device(setting.device)
    module = importlib.import_module(f"tadp_cli.experiments.analyses.{ANALYSES[name].module}")
    findings = module.analyze(setting)
    names = ("data", "split", "backbone", "images", "steps", "train_images", "seed", "cosine", "scales")
    measured_on = {"run": str(setting.run or ""), **{name: getattr(setting, name) for name in names}}
    write_json(setting.out / f"{name}.json", {"analysis": name, "setting": measured_on, "numbers": findings.numbers})
    return findings
