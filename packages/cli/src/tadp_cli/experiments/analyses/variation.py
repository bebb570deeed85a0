"""Figure S1: an image noised to a strength and denoised under the names of all classes, or under its caption."""

from collections.abc import Mapping, Sequence

import torch
from PIL import Image

from tadp_backbone.analysis.variation import STEPS, img2img, vary
from tadp_captioning import Captioner, class_names_prompt, load_captioner
from tadp_captioning.mentions.words import ClassMentions
from tadp_cli.experiments.analyses.setting import Findings, Setting
from tadp_cli.inputs.user_images import to_pil
from tadp_cli.report.heat_map_sheets import Panel, sheet_figure
from tadp_heads.data.class_names import listed_names, object_names
from tadp_heads.data.present_classes import present_classes
from tadp_heads.seeds import numbered_seed

STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""5, 15, 25, 35 and 45 of the 50 steps."""


def analyze(setting: Setting) -> Findings:
    """Pixel differences, and the classes in captions of the variations: present ones kept, absent ones added."""
    if setting.run:
        raise ValueError("variation needs a text-to-image model's original weights: leave --run out, name a --backbone")
    backbone, dataset = setting.load_backbone(keep_decoder=True), setting.open_images()
    pipeline = img2img(backbone)
    names, present = object_names(dataset.prompt_names), present_classes(dataset)
    captions = setting.captions(dataset)
    captioner = load_captioner(setting.captioner_name, device=setting.device)
    images = {image_id: to_pil(dataset.read(image_id).image) for image_id in dataset.ids}
    prompts = {
        "class names": dict.fromkeys(dataset.ids, class_names_prompt(listed_names(dataset.prompt_names))),
        "caption": {image_id: captions[image_id] for image_id in dataset.ids},
    }
    drawn = {}
    total, done = len(prompts) * len(STRENGTHS), 0
    for kind, texts in prompts.items():
        for strength in STRENGTHS:
            drawn[kind, strength] = {
                image_id: vary(pipeline, image, texts[image_id], strength, numbered_seed(setting.seed, number))
                for number, (image_id, image) in enumerate(images.items())
            }
            done += 1
            setting.report("variation", done, total)
    find = ClassMentions(names)
    numbers = {
        kind: {
            f"{strength}": _measured(images, drawn[kind, strength], present, captioner, find) for strength in STRENGTHS
        }
        for kind in prompts
    }
    numbers["as it is"] = {"0": _measured(images, images, present, captioner, find)}
    _draw(setting, images, drawn, captions[next(iter(images))])
    return Findings(
        numbers=numbers,
        columns=("prompt", "strength", "change of pixels", "classes kept", "absent classes seen"),
        rows=[(kind, strength, *_cells(found)) for kind, own in numbers.items() for strength, found in own.items()],
        remark=(
            "Change: root mean square over pixels, of 255. Kept: share of the classes present that the captioner names "
            "in the variation. Absent: how many absent classes it names, a mean over images."
        ),
    )


def _measured(
    images: Mapping[str, Image.Image],
    varied: Mapping[str, Image.Image],
    present: Mapping[str, set[str]],
    captioner: Captioner,
    find: ClassMentions,
) -> dict[str, float]:
    seen = dict(zip(varied, map(set, map(find, captioner.caption(list(varied.values())))), strict=True))
    change = [_distance(images[image_id], drawn) for image_id, drawn in varied.items()]
    kept = [len(seen[i] & names) / len(names) for i, names in present.items() if names]
    added = [len(seen[i] - names) for i, names in present.items()]
    return {"rms": _mean(change), "kept": _mean(kept), "absent_seen": _mean(added)}


def _distance(image: Image.Image, other: Image.Image) -> float:
    """Root mean square over pixels and channels, in [0, 255]."""
    a, b = (torch.frombuffer(bytearray(one.tobytes()), dtype=torch.uint8).double() for one in (image, other))
    return float((a - b).square().mean().sqrt())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _cells(found: Mapping[str, float]) -> tuple[str, str, str]:
    return f"{found['rms']:.1f}", f"{100 * found['kept']:.1f} %", f"{found['absent_seen']:.2f}"


def _draw(
    setting: Setting,
    images: Mapping[str, Image.Image],
    drawn: Mapping[tuple[str, float], Mapping[str, Image.Image]],
    caption: str,
) -> None:
    first = next(iter(images))
    rows = [
        [
            Panel(kind, images[first]),
            *(Panel(f"strength {strength}", drawn[kind, strength][first]) for strength in STRENGTHS),
        ]
        for kind in ("class names", "caption")
    ]
    titles = [f"Variations of an image, {STEPS} steps times the strength. Caption: {caption}"]
    sheet_figure(setting.figure("variation"), titles=titles, rows=rows, foot=(), side=1.6)
