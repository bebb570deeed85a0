"""The paper's cross-domain workflow (4.3) from end to end, on Scenes and the tiny models, through files on disk."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tadp_backbone.latent_memory import encoding_once
from tadp_captioning import CaptionStore, get_domain
from tadp_captioning.stats import class_report
from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_cli.console.reporter import Report
from tadp_cli.experiments.demo_files import captions_file, data_folder, run_folder
from tadp_cli.experiments.demo_report import write_demo_report
from tadp_cli.experiments.pointing_game import pointing_game
from tadp_cli.inputs.prepare import cleaned, write_captions
from tadp_cli.inputs.scenes_data import SEEDS, SOURCE
from tadp_cli.pipelines.loading import loaded_backbone
from tadp_cli.pipelines.personalize import draw_domain, learn, settings
from tadp_cli.pipelines.train_and_evaluate import ensure_experiment, evaluate_once
from tadp_cli.precision import FULL_PRECISION
from tadp_cli.prompts.captions import Author
from tadp_cli.prompts.kind import prompt_kind
from tadp_cli.run.guard import claim
from tadp_cli.run.records import read_object
from tadp_cli.run.run import RESULTS_FILE
from tadp_heads.atomic_files import write_json
from tadp_heads.data.class_names import object_names
from tadp_heads.data.present_classes import present_classes
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes

CLASS_MAPS = "caption-class-maps"
"""In place of a kind of prompt: captions, with one attention map per class in place of one per token. Our own variant,
not the paper's (docs/class-maps.md)."""


def _kind(prompt: str) -> str:
    """The recipe's `prompt.kind`."""
    return "caption" if prompt == CLASS_MAPS else prompt


def _takes_captions(prompt: str) -> bool:
    return "captions" in prompt_kind(_kind(prompt)).needs


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of the workflow is run."""

    tasks: tuple[str, ...]
    targets: tuple[str, ...]
    seeds: int
    train_images: int
    scored_images: int
    """Of the source's validation split and of each target's test split."""
    target_images: int = 10
    """Unlabelled images of the target from which the token is learned."""
    token_steps: int = 60
    """Updates of Textual Inversion."""
    prompts: tuple[str, ...] = ("empty", "class-names", "caption", "oracle", CLASS_MAPS)
    """Kinds of prompts, and CLASS_MAPS."""
    modifiers: tuple[str, ...] = ("simple", "textual-inversion")
    """In addition to "null", with captions as prompts."""
    steps: int
    """Training steps of each head."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"{self.seeds} seeds: expected at least 1")
        if self.steps < 1:
            raise ValueError(f"{self.steps} steps: expected at least 1")
        for prompt in self.prompts:
            prompt_kind(_kind(prompt))


QUICK = Plan(tasks=("segmentation",), targets=("watercolor",), seeds=1, train_images=500, scored_images=100, steps=400)
FULL = Plan(
    tasks=("segmentation", "depth", "detection"),
    targets=("watercolor", "comic", "night"),
    seeds=3,
    train_images=1000,
    scored_images=400,
    steps=800,
    prompts=("empty", "class-names", "averaged-eos", "caption", "oracle", CLASS_MAPS),
)


class _Setting(NamedTuple):
    """One training run."""

    task: str
    prompt: str
    modifier: str
    target: str
    """The domain whose modifier is trained with; "" for null, which is one run for all targets."""
    seed: int

    @property
    def folder(self) -> str:
        return "-".join(part for part in (self.prompt, self.modifier, self.target, f"seed{self.seed}") if part)


@encoding_once()  # all heads are evaluated on the same images
def run_demo(out: Path, plan: Plan, *, device: str, seed: int, report: Report) -> dict[str, Any]:
    """Everything the plan says, each stage left alone where it is done already; writes results.json and report.html."""
    claim(out / "plan.json", {**asdict(plan), "seed": seed}, "a demo")
    for task in plan.tasks:
        _write_data(out, plan, task)
    _caption(out, plan, device, report)
    learned = plan.targets if "textual-inversion" in plan.modifiers else ()
    tokens = {target: _learn_token(out, plan, target, device, seed, report) for target in learned}
    backbone = loaded_backbone("tiny", FULL_PRECISION, device)
    first = open_folder(data_folder(out, "segmentation", SOURCE), "segmentation", "val")
    results: dict[str, Any] = {
        "rows": [],
        "pointing_game": pointing_game(backbone, first),
        "captions": _caption_quality(out, plan),
        "personalization": {target: token["held_out"] for target, token in tokens.items()},
        "classes": list(first.classes),
        "palette": [list(colour) for colour in first.palette],
        "settings": {**asdict(plan), "seed": seed},
    }
    runs = _settings(plan, seed)
    for index, setting in enumerate(runs):
        report("runs", index, len(runs))
        results["rows"] += _train_and_evaluate(out, plan, setting, device, report)
    report("runs", len(runs), len(runs))
    write_json(out / RESULTS_FILE, results)
    write_demo_report(out, results, backbone)
    return results


def _write_data(out: Path, plan: Plan, task: str) -> None:
    source = data_folder(out, task, SOURCE)
    for split, count in (("train", plan.train_images), ("val", plan.scored_images)):
        write_scenes(source, task=task, domain=SOURCE, split=split, count=count, seed=SEEDS[split])
    for target in plan.targets:
        folder = data_folder(out, task, target)
        write_scenes(folder, task=task, domain=target, split="test", count=plan.scored_images, seed=SEEDS["test"])


def _caption(out: Path, plan: Plan, device: str, report: Report) -> None:
    """Captions of source and targets; the same for every task, since the tasks' images are the same."""
    recipe = load_recipe(f"scenes-{plan.tasks[0]}", ("data.captioner=tiny",))
    author = Author(**recipe.captioning, device=device)
    for domain in (SOURCE, *plan.targets):
        folder, raw = data_folder(out, plan.tasks[0], domain), out / "captions" / f"{domain}.jsonl"
        splits = ("train", "val") if domain == SOURCE else ("test",)
        write_captions(recipe, str(folder), splits, raw, author, report)
        if domain != SOURCE:
            cleaned(raw, domain)


def _caption_quality(out: Path, plan: Plan) -> dict[str, dict[str, float | None]]:
    """Class precision and recall, in [0, 1], of the evaluation images' captions."""
    quality = {}
    for domain, split in ((SOURCE, "val"), *((target, "test") for target in plan.targets)):
        dataset = open_folder(data_folder(out, "segmentation", domain), "segmentation", split)
        store = CaptionStore.read(captions_file(out, domain))
        found = class_report(store, present_classes(dataset), object_names(dataset.prompt_names)).overall
        quality[domain] = {"class_precision": found.precision, "class_recall": found.recall}
    return quality


def _learn_token(out: Path, plan: Plan, target: str, device: str, seed: int, report: Report) -> dict[str, Any]:
    folder = out / "tokens" / target
    summary = folder / "summary.json"
    if not summary.is_file():
        images, held_out = draw_domain(folder / "images", target, plan.target_images, SEEDS["domain"])
        config = settings("textual-inversion", "tiny", steps=plan.token_steps)
        learned = learn(
            domain=target,
            images=images,
            held_out=held_out,
            count=plan.target_images,
            method="textual-inversion",
            config=config,
            backbone="tiny",
            out=folder,
            resume=False,
            device=device,
            seed=seed,
            progress=lambda done, total, _: report(f"token {target}", done, total),
        )
        write_json(summary, {"held_out": {"token": learned.token, "before": learned.before, "after": learned.after}})
    return read_object(summary)


def _settings(plan: Plan, seed: int) -> list[_Setting]:
    settings = []
    for task in plan.tasks:
        prompts = [p for p in plan.prompts if task != "depth" or p in ("empty", "caption")]  # depth has no classes
        for number in range(seed, seed + plan.seeds):
            settings += [_Setting(task, prompt, "null", "", number) for prompt in prompts]
            settings += [_Setting(task, "caption", m, t, number) for t in plan.targets for m in plan.modifiers]
    return settings


def _recipe(out: Path, plan: Plan, setting: _Setting) -> Recipe:
    changes: dict[str, Any] = {
        "data.folder": str(data_folder(out, setting.task, SOURCE)),
        "data.captions": str(captions_file(out, SOURCE)) if _takes_captions(setting.prompt) else "",
        "prompt.kind": _kind(setting.prompt),
        "prompt.modifier": setting.modifier,
        "backbone.map_index": "class" if setting.prompt == CLASS_MAPS else "token",
        "train.seed": setting.seed,
        "train.steps": plan.steps,
        "train.flip": False,  # in so few steps it brings photos nothing, and each mirrored image needs a pass
    }
    if setting.prompt != CLASS_MAPS:  # heads differ in their prompts alone: the VAE encodes each image once for all
        changes |= {"train.cache": str(out / "cache"), "train.crops": 1, "train.features_gb": 0.0}
    if setting.target:
        changes["prompt.domain"] = setting.target
    if setting.modifier == "textual-inversion":
        changes["prompt.token"] = get_domain(setting.target).token
        changes["prompt.token_file"] = str(out / "tokens" / setting.target / "learned_embeds.safetensors")
    return load_recipe(f"scenes-{setting.task}").replace(**changes)


def _train_and_evaluate(out: Path, plan: Plan, setting: _Setting, device: str, report: Report) -> list[dict[str, Any]]:
    """A row for the source's validation split and one for each target."""
    folder, recipe = run_folder(out, setting.task, setting.folder), _recipe(out, plan, setting)
    results = ensure_experiment(recipe, folder, device=device, report=report)
    rows = []
    # With several targets a modifier's metric on the source would be several numbers under one name.
    if not setting.target or len(plan.targets) == 1:
        rows.append(_row(setting, SOURCE, results["evaluations"][0]["metrics"]))
    for target in (setting.target,) if setting.target else plan.targets:
        captions = str(captions_file(out, target)) if _takes_captions(setting.prompt) else ""
        test = {"test.folder": str(data_folder(out, setting.task, target)), "test.captions": captions}
        metrics = evaluate_once(folder, recipe.replace(**test), "", device=device, report=report)
        rows.append(_row(setting, target, metrics))
    return rows


def _row(setting: _Setting, test: str, metrics: dict[str, float]) -> dict[str, Any]:
    # The modifier is a question of the cross-domain part alone: there "null" is one of its answers.
    cross = setting.prompt == "caption" and (setting.modifier != "null" or test != SOURCE)
    return {
        "task": setting.task,
        "prompt": setting.prompt,
        "modifier": setting.modifier if cross else None,
        "test": test,
        "seed": setting.seed,
        "metrics": metrics,
    }
