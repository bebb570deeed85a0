"""From a recipe to a trained and evaluated run (paper App. D)."""

import logging
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator
from PIL import Image

from tadp_backbone import DiffusionBackbone
from tadp_backbone import load_backbone as load_source
from tadp_backbone.latent_cache import LatentCache
from tadp_backbone.text.encoder import text_parts
from tadp_backbone.vision.table import is_vision
from tadp_captioning.factory import is_captioner
from tadp_captioning.mentions.words import class_words
from tadp_cli.config.default_models import naming_tiny
from tadp_cli.config.paths import with_absolute_paths
from tadp_cli.config.recipe import Recipe
from tadp_cli.config.vision import for_backbone, vision_settings
from tadp_cli.console.reporter import Report, note
from tadp_cli.device import checked_device
from tadp_cli.inputs.preflight_checks import check_head, check_loss, check_protocol, check_splits
from tadp_cli.inputs.unlabelled_target import check_self_training, unlabelled_target
from tadp_cli.precision import with_precision
from tadp_cli.prompts.authors import generation_of, with_author, with_cleaner
from tadp_cli.prompts.builder import PromptContexts, Prompts, training_contexts, with_styles
from tadp_cli.prompts.captions import Author, captions_of
from tadp_cli.prompts.kind import make_kind
from tadp_cli.prompts.prompter import Prompter
from tadp_cli.prompts.tagging.fit import fit_tagger
from tadp_cli.run.best_model import BestModel
from tadp_cli.run.records import measured, results_of
from tadp_cli.run.resume import flat_settings, with_version
from tadp_cli.run.run import Run, use_prompt_names
from tadp_heads import PerceptionModel
from tadp_heads.data import SampleDataset
from tadp_heads.data.class_names import object_names
from tadp_heads.data.registry import open_data
from tadp_heads.model_config import PerceptionConfig
from tadp_heads.precision import in_float32
from tadp_heads.seeds import SEED_LIMIT, seed_all
from tadp_heads.tasks import get_task, train_transform
from tadp_heads.training import Evaluation, fit, measure
from tadp_heads.training.memory.out_of_memory import out_of_memory_named
from tadp_heads.training.parallel.accelerator import make_accelerator
from tadp_heads.training.tracking.page import TrainingPage
from tadp_heads.training.tracking.panel import validation_panel
from tadp_heads.training.tracking.step_text import StepText
from tadp_heads.training.tracking.trackers import Trackers, check_trackers
from tadp_heads.training.validation import record_validation
from tadp_personalize import base_of, check_base
from tadp_personalize.lora import LORA_FILE

log = logging.getLogger(__name__)
_IMAGENET_LIMIT = 2.7
"""Largest absolute value of an image standardised by ImageNet's statistics."""


@in_float32()
def train(
    recipe: Recipe,
    out: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    report: Report = lambda *_: None,
    bundle: bool = False,
) -> dict[str, Any]:
    """Train by the recipe and evaluate on its validation split; returns the content of results.json.

    An unfinished run of the same settings resumes; a finished one is read with `resume`, and else refused. Under
    `accelerate launch` or `torchrun` all processes share each step's images and the evaluation; the first one writes.
    `bundle`: the run holds a copy of the frozen backbone in place of a reference to it.
    """
    checked_device(device)
    recipe = with_version(with_cleaner(with_author(with_absolute_paths(for_backbone(recipe.with_backbone)))))
    recipe = with_precision(recipe, out, device)
    accelerator = make_accelerator(recipe.train.precision, device)
    run, main = Run(out), accelerator.is_main_process
    finished = run.finished
    with run.lock() if main else nullcontext(False) as killed:
        if main:
            run.check(recipe, resume, killed)
        if finished:
            return run.results
        return _train(recipe, out, accelerator, device, report if main else lambda *_: None, bundle)


def _train(
    recipe: Recipe, out: Path, accelerator: Accelerator, device: str, report: Report, bundle: bool
) -> dict[str, Any]:
    run, config, main = Run(out), recipe.train, accelerator.is_main_process
    if accelerator.num_processes > 1:
        device = str(accelerator.device)
    changed = train_transform(recipe.task, config.transform, config.size) if config.transform else None
    dataset = open_data(recipe.data.folder, recipe.task, recipe.data.train, changed)
    validation = open_data(recipe.data.folder, recipe.task, recipe.data.val)
    check_protocol(recipe)
    check_loss(recipe)
    check_trackers(config.log_with)
    check_splits(recipe, dataset, validation)
    if recipe.self_training.images:
        check_self_training(recipe)
    if run.begun:
        use_prompt_names(run.prompt_names(dataset.classes), dataset, validation)
    backbone = load_backbone(recipe, device)
    check_head(recipe, backbone.levels, dataset.classes)
    # What is not captioned yet is captioned by the first process; the others find it done.
    with accelerator.main_process_first():
        prompts, validation_prompts = _prompts(recipe, dataset, validation, backbone, out, device, report)
        of_target = (out, device, report)
        target = unlabelled_target(recipe, dataset, backbone, *of_target) if recipe.self_training.images else None
    model = build_model(recipe, backbone, dataset, prompts)

    def evaluated() -> Evaluation:
        def progress(done: int, total: int) -> None:
            report("evaluate", done, total)

        how: dict[str, Any] = {"protocol": recipe.protocol, "batch_size": config.batch_size, "progress": progress}
        with out_of_memory_named():
            return measure(model, validation, PromptContexts(validation_prompts, model.backbone), **how)

    if main:
        # Before the recipe: a folder that has a recipe without names is taken for an older run.
        run.save_prompt_names(dataset.classes, dataset.prompt_names)
        run.begin(recipe)
    keep_if_best = BestModel(recipe, out, model, bundle)

    def panel() -> Image.Image:
        return validation_panel(model, validation, PromptContexts(validation_prompts, model.backbone))

    names, recorded = config.log_with if main else (), {"recipe": f"```toml\n{recipe.to_toml()}```"}
    page, text = TrainingPage(out, out.name, config.steps), StepText(config.batch_size * config.accumulate)

    def on_step(_step: int, line: dict[str, Any]) -> None:
        note(report, "train", text(line))
        page.step()

    if main:
        log.info("curves of the training, in a browser: %s", page.path)
    record = Trackers(names, out, settings=flat_settings(recipe), texts=recorded)
    with record as trackers, page if main else nullcontext():
        fit(
            model,
            dataset,
            training_contexts(prompts, backbone, config.cache),
            config,
            out,
            loss=recipe.loss,
            pool=latent_pool(recipe, backbone),
            target=target,
            evaluate=lambda: evaluated().metrics,
            on_step=on_step,
            on_evaluate=keep_if_best,
            report=report,
            trackers=trackers,
            panel=panel,
        )
        if main:
            model.save_pretrained(out, bundle=bundle)
        evaluation = evaluated()
        metrics, final = evaluation.metrics, measured(evaluation)
        if main:
            if config.eval_every:
                keep_if_best(config.steps, metrics)
            record_validation(trackers, config.steps, metrics, panel)
    if main:  # behind the page, which a finished run does not write again
        run.finish(recipe, final)
    accelerator.wait_for_everyone()
    return results_of(recipe, final)


def load_backbone(recipe: Recipe, device: str) -> Any:
    """The recipe's backbone, a DiffusionBackbone with its personalized parts or a VisionBackbone; trainable unless the
    learning rate of its part "unet" is 0."""
    seed_all(recipe.train.seed % SEED_LIMIT)  # a text adapter begins at random
    source, vae = recipe.backbone.source, recipe.backbone.vae or None
    log.info("loading the backbone %s", source)
    with naming_tiny(source, "--set backbone.source=tiny"):
        backbone: Any = load_source(source, vae=vae, device=device, **backbone_settings(recipe))
    if recipe.prompt.token_file:
        load_token(backbone, recipe.prompt.token_file)
    if recipe.backbone.lora:
        lora = Path(recipe.backbone.lora)
        _check_made_here(backbone, lora / LORA_FILE if lora.is_dir() else lora)
    if recipe.backbone.unet:
        backbone.load_unet(recipe.backbone.unet)
    if recipe.backbone.lora:
        backbone.load_lora(recipe.backbone.lora, scale=recipe.backbone.lora_scale)
    return backbone.freeze() if recipe.train.unet_lr_scale == 0 else backbone


def latent_pool(recipe: Recipe, backbone: DiffusionBackbone) -> LatentCache | None:
    """The encoded versions of the training images, where the recipe trains on some."""
    train = recipe.train
    if not train.crops:
        return None
    made_by = [recipe.task, recipe.data.folder, recipe.data.train, train.transform, train.size]
    augmentation = repr([*made_by, recipe.backbone.image_range, train.seed])
    return LatentCache(train.cache, backbone, crops=train.crops, augmentation=augmentation)


def load_token(backbone: DiffusionBackbone, file: str) -> None:
    """Load a learned token for the prompts, of prompt.token_file."""
    if not Path(file).is_file():
        raise ValueError(f"prompt.token_file is {file}: no such file; `tadp personalize` makes it")
    _check_made_here(backbone, Path(file))
    backbone.load_tokens(file)


def _check_made_here(backbone: DiffusionBackbone, file: Path) -> None:
    """Raise if a token or a LoRA was learned on another model, where it means something else.

    Files of other tools do not record theirs.
    """
    if file.is_file() and base_of(file) is not None:
        check_base(file, unet=backbone.unet, text_encoder=text_parts(backbone)[1])


def backbone_settings(recipe: Recipe) -> dict[str, Any]:
    """What the recipe says otherwise than the source's own config."""
    section = recipe.backbone
    if is_vision(section.source):
        return vision_settings(recipe)
    changes: dict[str, Any] = {"timestep": section.timestep, **recipe.kind.backbone_settings(recipe.prompt)}
    if section.latent_scale:
        changes["latent_scale"] = section.latent_scale
    if section.posterior:
        changes["posterior"] = section.posterior
    if not section.attention_maps:
        changes["map_strides"] = ()
    changes |= {name: getattr(section, name) for name in ("map_strides", "taps") if getattr(section, name)}
    changes |= {"noise": True} if section.noise else {}
    changes |= {} if section.detach_maps else {"detach_maps": False}
    if section.text_adapter:
        changes["text_adapter"] = True
    if section.image_range == "imagenet":
        changes["image_limit"] = _IMAGENET_LIMIT
    return changes


def _class_words(recipe: Recipe, dataset: SampleDataset) -> tuple[tuple[str, ...], ...]:
    names = recipe.backbone.map_words or object_names(dataset.prompt_names)
    if not names:
        given = f"backbone.map_index {recipe.backbone.map_index!r}"
        raise ValueError(
            f"{given} needs class names, and {dataset.task} data has none: list some in backbone.map_words"
        )
    return tuple(tuple(class_words(name)) for name in names)


def build_model(recipe: Recipe, backbone: Any, dataset: SampleDataset, prompts: Prompts) -> PerceptionModel:
    """A predictor with a fresh head."""
    seed_all(recipe.train.seed % SEED_LIMIT)
    if prompts.num_tokens is not None:
        # One attention map per token: embeddings of another length than a text's change the levels' widths.
        backbone.config = replace(backbone.config, num_tokens=prompts.num_tokens)
    if recipe.backbone.map_index != "token":
        shown: Literal["maps", "presence"] = "presence" if recipe.backbone.map_index == "presence" else "maps"
        backbone.config = replace(backbone.config, class_words=_class_words(recipe, dataset), class_input=shown)
    check_head(recipe, backbone.levels, dataset.classes)
    head = get_task(recipe.task).build_head(backbone.levels, dataset.classes, **recipe.head)
    captioned = recipe.needs_captions and is_captioner(recipe.captioner)
    config = PerceptionConfig(
        task=recipe.task,
        classes=dataset.classes,
        palette=dataset.palette,
        prompt=make_kind(recipe.prompt, dataset.prompt_names).modified_template,
        prompter=Prompter.of(recipe, dataset.prompt_names).to_config(),
        captioner=recipe.captioner if captioned else None,
        captioning=asdict(generation_of(recipe)) if captioned else {},
        protocol=recipe.protocol or None,
        image_range=recipe.backbone.image_range,
        seed=recipe.train.seed,
    )
    return PerceptionModel(backbone, head.to(backbone.device), config, prompts.shared)


def _prompts(
    recipe: Recipe,
    dataset: SampleDataset,
    validation: SampleDataset,
    backbone: DiffusionBackbone,
    out: Path,
    device: str,
    report: Report,
) -> tuple[Prompts, Prompts]:
    """Of the training images, and of those that are evaluated."""
    captions = unseen = None
    if recipe.needs_captions:
        given = Path(recipe.data.captions) if recipe.data.captions else None
        author = Author(**recipe.captioning, device=device)
        how: dict[str, Any] = {
            "written_to": out / "captions.jsonl",
            "progress": lambda p: report("caption", p.done, p.total),
        }
        captions, unseen = (captions_of(part, given, author, **how) for part in (dataset, validation))
    known = found = None
    if recipe.needs_presence:
        tagger = fit_tagger(recipe, dataset, backbone, captions, out, device, report)
        known, found = tagger.out_of_fold, tagger.find(validation, unseen, report)
    plain = Prompter.of(recipe.of_training_prompts).of_data(dataset, backbone, captions, known)
    validation_prompts = Prompter.of(recipe).of_data(validation, backbone, unseen, found)
    return with_styles(plain, recipe.prompt.styles), validation_prompts
