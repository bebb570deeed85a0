"""Where full-scale recipes run in a test: a narrow Stable Diffusion, and every data set at its own image sizes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from official_layouts import LAYOUTS
from safetensors.torch import save_file
from stable_diffusion import CONTEXT_WIDTH, narrow_stable_diffusion

from tadp_captioning import CaptionRecord, CaptionStore, get_domain
from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_heads.data.registry import DATASETS, open_data, split_name

SIZES = {
    "voc2012": (500, 375),
    "ade20k": (683, 512),
    "cityscapes": (2048, 1024),
    "dark-zurich": (1920, 1080),
    "nighttime-driving": (1920, 1080),
    "acdc": (1920, 1080),
    "nyuv2": (640, 480),
    "voc0712-boxes-xml": (500, 375),
    "watercolor2k": (500, 400),
    "comic2k": (400, 560),
}
"""{data set: (width, height)} of its images, or of typical ones."""
CAPTION = "a black and white cat sitting on top of a wooden dining table next to a television"
LONG_CAPTION = f"{CAPTION}, " * 6
"""More tokens than CLIP reads."""
NARROW_HEADS = {
    "segmentation": ("head.width=64", "head.inner_width=32"),
    "depth": ("head.fusion_channels=16", "head.head_channels=16", "head.deconv_channels=[8, 8, 8]"),
    "detection": ("head.fpn_channels=16", "head.representation_size=32"),
}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A folder laid out as the recipes expect their working directory: data/, domains/, and the model."""

    root: Path

    @property
    def model(self) -> Path:
        return self.root / "narrow-stable-diffusion"

    def recipe(self, name: str, *settings: str) -> Recipe:
        """A full-scale recipe with steps of one image or two; all else is its own but for the model's widths."""
        whole = load_recipe(name)
        data = self._place(whole.data.folder)
        short = ["train.steps=2", "train.batch_size=1", f"train.accumulate={min(whole.train.accumulate, 2)}"]
        short += ["train.save_every=1", "train.workers=0", f"backbone.source={self.model}", f"data.folder={data}"]
        short += [f"data.captions={self.root / 'captions.jsonl'}", *NARROW_HEADS[whole.task]]
        if whole.test.folder:
            short += [f"test.folder={self._place(whole.test.folder)}", f"test.captions={self.root / 'captions.jsonl'}"]
        if whole.prompt.token_file:
            short.append(f"prompt.token_file={self.token_file(whole.prompt.domain)}")
        if whole.backbone.unet:
            short.append(f"backbone.unet={self.root / 'tuned' / 'unet'}")
        return load_recipe(name, (*short, *settings))

    def token_file(self, domain: str) -> Path:
        return self.root / f"{domain}.safetensors"

    def image(self, recipe: Recipe) -> Path:
        """An image of the data set that the recipe is evaluated on last."""
        test = recipe.test
        folder, split = (test.folder, test.split) if test.folder else (recipe.data.folder, recipe.data.val)
        dataset = open_data(folder, recipe.task, split)
        return dataset.image_files[dataset.ids[0]]

    def _place(self, where: str) -> str:
        name, _ = split_name(where)
        return f"{name}:{self.root / name}"


def write_bench(root: Path) -> Bench:
    """An image or two in each split of each data set, captions of all, tokens of all domains, a tuned UNet."""
    bench = Bench(root=root)
    narrow_stable_diffusion().save_pretrained(bench.model)
    narrow_stable_diffusion(seed=1).save_pretrained(root / "tuned")
    for name, size in SIZES.items():
        for split in DATASETS[name].splits:
            LAYOUTS[name](root / name, split, size)
    texts = dict.fromkeys(_ids(root), CAPTION) | {"/bathroom/rgb_00045.jpg": LONG_CAPTION}
    store = CaptionStore.open(root / "captions.jsonl")
    store.add(*(CaptionRecord(id=image_id, caption=text) for image_id, text in texts.items()))
    for number, domain in enumerate(("watercolor", "comic", "dark-zurich", "night")):
        vectors = torch.randn(2, CONTEXT_WIDTH, generator=torch.Generator().manual_seed(number))
        save_file({get_domain(domain).token: vectors}, bench.token_file(domain))
    return bench


def _ids(root: Path) -> Iterator[str]:
    for name in SIZES:
        for split in DATASETS[name].splits:
            yield from open_data(f"{name}:{root / name}", DATASETS[name].task, split).ids
