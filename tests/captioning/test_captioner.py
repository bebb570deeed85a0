import pytest
import torch
from agreement import assert_same_captions, greedy
from PIL import Image
from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor

from tadp_captioning import Captioner, load_captioner

pytestmark = pytest.mark.numerical


def open_all(folder):
    return [Image.open(path) for path in sorted(folder.rglob("*.png"))]


def test_captions_are_what_transformers_generates(blip2_folder, image_folder):
    """Batched over images of several modes and sizes, against one plain greedy `generate` an image."""
    images = open_all(image_folder)
    captioner = load_captioner(blip2_folder, device="cpu", max_new_tokens=9, batch_size=3)
    model = Blip2ForConditionalGeneration.from_pretrained(blip2_folder, dtype=torch.float32).eval()
    processor = Blip2Processor.from_pretrained(blip2_folder)

    expected = []
    for image in images:
        pixels = processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"]
        expected.append(greedy(model, processor.tokenizer, pixel_values=pixels, max_new_tokens=9, min_new_tokens=0))

    captions = captioner.caption(images)
    assert_same_captions(captions, expected)
    assert len(set(captions)) > 1, "the toy model should not say the same of every image"
    assert isinstance(captioner, Captioner)
    assert captioner.params == "min=0_max=9"


SMALL = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
PUBLISHED, FEW = {"vision": 39, "qformer": 12, "opt": 32, "t5": 24}, {"vision": 2, "qformer": 2, "opt": 2, "t5": 2}
"""Layers of Salesforce/blip2-opt-2.7b and Salesforce/blip2-flan-t5-xl, whose T5 has as many in encoder and decoder."""
LANGUAGE = {
    "opt": {
        "hidden_size": 16,
        "word_embed_proj_dim": 16,
        "ffn_dim": 32,
        "num_attention_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    },
    "t5": {
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 32,
        "num_heads": 2,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "decoder_start_token_id": 0,
    },
}


@pytest.mark.parametrize(
    ("language", "layers"),
    [
        ("t5", FEW),
        pytest.param("t5", PUBLISHED, marks=pytest.mark.slow),
        pytest.param("opt", PUBLISHED, marks=pytest.mark.slow),
    ],
)
def test_blip2_of_all_layers_and_either_language_model(language, layers, blip2_folder, image_folder, tmp_path):
    """At tiny width, 32 queries; T5 answers without repeating the question."""
    processor = Blip2Processor.from_pretrained(blip2_folder)
    processor.num_query_tokens = 32
    words = processor.tokenizer
    depth = dict.fromkeys(("num_hidden_layers", "num_layers", "num_decoder_layers"), layers[language])
    config = Blip2Config(
        vision_config={**SMALL, "num_hidden_layers": layers["vision"], "image_size": 32, "patch_size": 8},
        qformer_config={
            **SMALL,
            "num_hidden_layers": layers["qformer"],
            "vocab_size": len(words),
            "encoder_hidden_size": 16,
        },
        text_config={"model_type": language, "vocab_size": len(words), **depth, **LANGUAGE[language]},
        num_query_tokens=32,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    model = Blip2ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.5)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    captioner = load_captioner(tmp_path, device="cpu", min_new_tokens=3, max_new_tokens=8, batch_size=3)
    assert (
        type(captioner.model.language_model).__name__
        == {"opt": "OPTForCausalLM", "t5": "T5ForConditionalGeneration"}[language]
    )
    images = open_all(image_folder)
    expected = []
    for image in images:
        pixels = processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"]
        expected.append(greedy(model, processor.tokenizer, pixel_values=pixels, min_new_tokens=3, max_new_tokens=8))
    captions = captioner.caption(images)
    assert_same_captions(captions, expected)
    assert len(set(captions)) > 1, "the toy model should not say the same of every image"
    asked = load_captioner(tmp_path, device="cpu", prompt="a red", max_new_tokens=8).caption(images)
    assert len(asked) == 7
    assert asked != captions


def test_no_special_token_and_no_query_token_is_left_in_captions(blip2_folder, image_folder):
    for caption in load_captioner(blip2_folder, device="cpu").caption(open_all(image_folder)):
        assert "<" not in caption
        assert caption == caption.strip()


@pytest.mark.parametrize("least", [0, 5, 12])
def test_captions_have_at_least_min_new_tokens_before_they_end(blip2_folder, monkeypatch, least):
    captioner = load_captioner(blip2_folder, device="cpu", min_new_tokens=least, max_new_tokens=12)
    generate, generated = type(captioner.model).generate, []

    def recorded(self, **settings):
        generated.append(generate(self, **settings))
        return generated[-1]

    monkeypatch.setattr(type(captioner.model), "generate", recorded)
    colours = ("black", "blue", "brown", "green", "grey", "orange", "pink", "purple", "red", "white", "yellow")
    captioner.caption([Image.new("RGB", (30, 30), colour) for colour in colours])
    prompt = captioner.model.config.num_query_tokens + 1  # the image's tokens and the start token
    captions = [row[prompt:].tolist() for row in generated[0]]
    ends = [new.index(2) if 2 in new else len(new) for new in captions]
    assert least <= min(ends) <= max(ends) <= 12
    assert (min(ends) < 5) == (least == 0), "left alone, the toy model ends one of these captions early"
    assert captioner.params == f"min={least}_max=12"


def test_half_precision_weights_load_as_float32_on_the_cpu(blip2_folder, tmp_path, image_folder):
    Blip2ForConditionalGeneration.from_pretrained(blip2_folder).half().save_pretrained(tmp_path)
    Blip2Processor.from_pretrained(blip2_folder).save_pretrained(tmp_path)
    captioner = load_captioner(tmp_path, device="cpu", max_new_tokens=5)
    assert {parameter.dtype for parameter in captioner.model.parameters()} == {torch.float32}
    assert len(captioner.caption(open_all(image_folder))) == 7


def test_batch_is_halved_when_memory_runs_out(blip2_folder, image_folder, monkeypatch, caplog):
    images = open_all(image_folder)
    expected = load_captioner(blip2_folder, device="cpu", max_new_tokens=5, batch_size=1).caption(images)
    captioner = load_captioner(blip2_folder, device="cpu", max_new_tokens=5, batch_size=7)
    generate = type(captioner.model).generate

    def with_little_memory(self, pixel_values, **settings):
        if len(pixel_values) > 2:
            raise torch.OutOfMemoryError
        return generate(self, pixel_values, **settings)

    monkeypatch.setattr(type(captioner.model), "generate", with_little_memory)
    assert captioner.caption(images) == expected
    assert captioner.batch_size <= 2
    captioner.caption(images)
    assert sum("out of memory" in message for message in caplog.messages) == 2, "7 -> 3 -> 1, said once each"


def test_no_images_no_captions(blip2_folder):
    assert load_captioner(blip2_folder, device="cpu").caption([]) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name_or_path": "blip3"}, r"unknown captioner 'blip3'; expected one of tiny, blip2"),
        ({"name_or_path": "./no/such/folder"}, "unknown captioner"),
        ({"name_or_path": "blip2", "min_new_tokens": 80}, "expected 0 <= min <= max"),
        ({"name_or_path": "blip2", "min_new_tokens": -1}, "expected 0 <= min <= max"),
    ],
)
def test_wrong_use_is_one_clear_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        load_captioner(**arguments)
    assert "\n" not in str(error.value)


def test_unknown_dtype_names_the_known_ones(blip2_folder):
    with pytest.raises(ValueError, match="unknown dtype 'int3'; choose from float32"):
        load_captioner(blip2_folder, device="cpu", dtype="int3")


def test_a_model_that_cannot_be_fetched_is_one_clear_line():
    with pytest.raises(ValueError, match=r"Salesforce/blip2-opt-2\.7b") as error:
        load_captioner("blip2", device="cpu")
    assert "\n" not in str(error.value)
