"""The pointing game: does an object's word attend to its object, before any head is trained (paper Fig. 4)?"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.text.word_attention import find_word, heat_maps
from tadp_cli.pipelines.forward_pass import run_pass
from tadp_heads.data import SampleDataset
from tadp_heads.data.class_names import object_names
from tadp_heads.data.present_classes import present_classes


def pointing_game(backbone: DiffusionBackbone, dataset: SampleDataset, most_images: int = 200) -> dict[str, float]:
    """Shares in [0, 1] over all objects' classes of images with two classes or more, prompted with the oracle's names.

    own_word: the maximum of a word's map (mean over heads, layers and strides, upsampled to pixels) lies on an object
    of that class. other_word: the maximum of another present object's word lies on it, a mean over those words.
    chance: the class's share of the image.
    """
    names = object_names(dataset.prompt_names)
    present = present_classes(dataset)
    own, other, chance = [], [], []
    for image_id in dataset.ids[:most_images]:
        words = [name for name in names if name in present[image_id]]
        if len(words) < 2:
            continue
        sample = dataset.read(image_id)
        peaks = _peaks(backbone, sample.image[None], words)
        mask = sample.target.as_subclass(Tensor).flatten()
        for index, word in enumerate(words):
            on_object = mask == dataset.prompt_names.index(word)
            hits = on_object[peaks].float()  # (words,)
            own.append(hits[index])
            other.append((hits.sum() - hits[index]) / (len(words) - 1))
            chance.append(on_object.float().mean())
    if not own:
        raise ValueError("no image with two classes or more: the pointing game needs some")
    return {
        "own_word": float(torch.stack(own).mean()),
        "other_word": float(torch.stack(other).mean()),
        "chance": float(torch.stack(chance).mean()),
    }


@torch.no_grad()
def _peaks(backbone: DiffusionBackbone, image: Tensor, words: Sequence[str]) -> Tensor:
    """uint8 image (1, 3, H, W) -> flat pixel index of the maximum of each word's map, (words,)."""
    prompt = " ".join(words)
    features = run_pass(backbone, image, backbone.encode_text([prompt]))
    maps = heat_maps(features, [find_word(backbone.tokenizer, prompt, word) for word in words])
    return maps.flatten(1).argmax(1).cpu()
