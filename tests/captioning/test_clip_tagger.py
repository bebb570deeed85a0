"""CLIP's zero-shot tagging on CLIP's own classes, small, with random weights."""

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

from tadp_captioning.taggers.clip import ClipTagger

NAMES = ("tree", "star", "dining table")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    letters = [*"abcdefghijklmnopqrstuvwxyz."]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    ends = {"eos_token_id": len(pieces) - 1, "bos_token_id": len(pieces) - 2, "pad_token_id": len(pieces) - 1}
    text = {**sizes, "vocab_size": len(pieces), "max_position_embeddings": 77, **ends}
    config = CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 8}, projection_dim=16)
    CLIPModel(config).save_pretrained(root)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, CLIPTokenizer(vocab=vocabulary, merges=[])).save_pretrained(root)
    return root


def test_a_class_is_weighed_against_the_sentence_without_it(folder):
    tagger = ClipTagger.from_pretrained(folder, NAMES)
    image = Image.effect_noise((48, 40), 90).convert("RGB")
    found = tagger.probabilities([image])
    assert found.shape == (1, 3)
    model, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    for column, name in enumerate(NAMES):
        both = processor(text=[f"a photo of a {name}.", "a photo."], images=[image], return_tensors="pt", padding=True)
        with torch.no_grad():
            expected = model(**both).logits_per_image.softmax(1)[0, 0]
        torch.testing.assert_close(found[0, column], expected, rtol=1e-4, atol=1e-5)


def test_tensors_and_pictures_are_tagged_alike(folder):
    tagger = ClipTagger.from_pretrained(folder, NAMES)
    picture = Image.effect_noise((32, 32), 90).convert("RGB")
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).reshape(32, 32, 3).permute(2, 0, 1)
    torch.testing.assert_close(tagger.probabilities(pixels[None]), tagger.probabilities([picture]))
