"""Where the gain of a prompt comes from: heads trained with and without what the prompt tells them, on Scenes.

The paper gives the head cross-attention maps by the position of their token in the prompt. Beside that: no maps, maps
by class word wherever it stands in the prompt, and the bare list of the classes named, without any place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tadp_backbone import DiffusionBackbone, Features, Level
from tadp_cli._io import write_json
from tadp_cli.config.recipe import load_recipe
from tadp_cli.console.reporter import Report
from tadp_cli.pipelines.train import build_model
from tadp_cli.pretrain.prompts import ClassTokens
from tadp_cli.prompts.builder import build_prompts
from tadp_cli.prompts.captions import captions_of
from tadp_cli.run.records import read_object
from tadp_cli.training import fit
from tadp_cli.training.evaluation import evaluate
from tadp_heads.data import SampleDataset
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.shapes import CLASSES
from tadp_heads.data.scenes.write import write_scenes

# B batch, T tokens, D width of the context, K classes, h w cells

CONTROLS_FILE = "controls.json"


@dataclass(frozen=True)
class HeadInput:
    """What the head is given beside the UNet's own features."""

    title: str
    token_maps: bool = False
    """A map for each token of the prompt, as in the paper."""
    class_maps: bool = False
    """A map for each class: the sum over the tokens that name it; zero for a class that the prompt does not name."""
    names: bool = False
    """For each class 1 where it is named and 0 where not, the same in every cell."""


MAPS_BY_TOKEN = HeadInput("maps by token", token_maps=True)
NO_MAPS = HeadInput("no maps")
MAPS_BY_CLASS = HeadInput("maps by class word", class_maps=True)
NAMES = HeadInput("no maps, list of the classes named", names=True)
HEAD_INPUTS = (MAPS_BY_TOKEN, NO_MAPS, MAPS_BY_CLASS, NAMES)
PROMPT_KINDS = ("caption", "oracle")


class ControlBackbone(nn.Module):
    """A backbone whose levels carry one of HEAD_INPUTS. Its contexts have K more columns: which class a token names."""

    def __init__(self, backbone: DiffusionBackbone, head_input: HeadInput):
        super().__init__()
        self.backbone, self.head_input = backbone, head_input
        self.class_tokens = ClassTokens(backbone.tokenizer)

    @property
    def unet(self) -> nn.Module:
        return self.backbone.unet

    @property
    def levels(self) -> tuple[Level, ...]:
        strides, tokens = self.backbone.config.map_strides, self.backbone.config.num_tokens
        extra = (len(CLASSES) if self.head_input.class_maps else 0) + (len(CLASSES) if self.head_input.names else 0)
        dropped = 0 if self.head_input.token_maps else tokens
        return tuple(
            Level(channels + extra - dropped, stride) if stride in strides else Level(channels, stride)
            for channels, stride in self.backbone.levels
        )

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """(B, T, D + K)."""
        ids = self.backbone.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=77, return_tensors="pt"
        ).input_ids
        context = self.backbone.encode_text(texts)
        return torch.cat([context, self.class_tokens.find(ids).mT.to(context)], dim=2)

    def forward(self, images: Tensor, context: Tensor) -> Features:
        named = context[..., -len(CLASSES) :].mT  # (B, K, T)
        features = self.backbone(images, context[..., : -len(CLASSES)])
        levels = []
        for level, (_, stride) in zip(features.levels, self.backbone.levels, strict=True):
            maps = features.attention.get(stride)
            levels.append(level if maps is None else self._with_input(level, maps, named))
        return Features(tuple(levels), features.attention, features.image_size, features.padding)

    def _with_input(self, level: Tensor, maps: Tensor, named: Tensor) -> Tensor:
        """level (B, C + T, h, w), maps (B, T, h, w), named (B, K, T) -> (B, C + ..., h, w)."""
        parts = [level if self.head_input.token_maps else level[:, : -maps.shape[1]]]
        if self.head_input.class_maps:
            parts.append(torch.einsum("bkt,bthw->bkhw", named, maps))
        if self.head_input.names:
            parts.append(named.amax(dim=2)[:, :, None, None].expand(-1, -1, *maps.shape[-2:]))
        return torch.cat(parts, dim=1)


class _Run(NamedTuple):
    prompt: str
    head_input: HeadInput
    seed: int

    @property
    def name(self) -> str:
        return f"{self.prompt}-{HEAD_INPUTS.index(self.head_input)}-seed{self.seed}"


def run_controls(
    out: Path, *, train_images: int, scored_images: int, steps: int, seeds: int, device: str, report: Report
) -> list[dict]:
    """Rows {"prompt", "head_input", "seed", "mIoU"}, also in controls.json; runs that are there are not made again."""
    from tadp_cli.experiments.demo_files import SEEDS, SOURCE

    data, path = out / "data", out / CONTROLS_FILE
    settings = {"train_images": train_images, "scored_images": scored_images, "steps": steps}
    known = read_object(path, "settings", "rows") if path.is_file() else {"settings": settings, "rows": []}
    if known["settings"] != settings:
        raise ValueError(f"{out} holds controls with other settings; name another --out, or remove it")
    for split, count in (("train", train_images), ("val", scored_images)):
        write_scenes(data, task="segmentation", look=SOURCE, split=split, count=count, seed=SEEDS[split])
    runs = list(_runs(seeds))
    for index, run in enumerate(runs):
        report("runs", index, len(runs))
        row = {"prompt": run.prompt, "head_input": run.head_input.title, "seed": run.seed}
        if not any(row.items() <= done.items() for done in known["rows"]):
            known["rows"].append({**row, "mIoU": _score(out, data, run, steps, device, report)})
            write_json(path, known)
    report("runs", len(runs), len(runs))
    return known["rows"]


def _runs(seeds: int) -> Iterator[_Run]:
    for seed in range(seeds):
        yield from (_Run(prompt, head_input, seed) for prompt in PROMPT_KINDS for head_input in HEAD_INPUTS)


def _score(out: Path, data: Path, run: _Run, steps: int, device: str, report: Report) -> float:
    changes = {"data.folder": str(data), "prompt.kind": run.prompt, "train.seed": run.seed, "train.steps": steps}
    recipe = load_recipe("scenes-segmentation").replace(**changes)
    backbone = DiffusionBackbone.from_pretrained(recipe.backbone.source, device=device).freeze()
    splits = {split: open_folder(data, recipe.task, split) for split in ("train", "val")}
    prompts = {
        split: build_prompts(recipe.prompt, dataset, backbone, _captions(out, dataset, recipe.captioner, run, device))
        for split, dataset in splits.items()
    }
    model = build_model(recipe, ControlBackbone(backbone, run.head_input), splits["train"], prompts["train"])
    fit(recipe, model, splits["train"], prompts["train"], out / "runs" / run.name, device, report)
    return evaluate(model, splits["val"], prompts["val"], protocol=recipe.protocol)["mIoU"]


def _captions(out: Path, dataset: SampleDataset, captioner: str, run: _Run, device: str):
    if run.prompt != "caption":
        return None
    return captions_of(dataset, None, captioner=captioner, written_to=out / "captions.jsonl", device=device)
