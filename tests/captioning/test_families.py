"""Each class of the captioners' table, built from its config at toy size, saved, loaded by folder and run."""

from pathlib import Path

import pytest
import torch
import transformers
from agreement import Greedy, assert_same_captions, greedy
from PIL import Image

from tadp_captioning import load_captioner
from tadp_captioning.captioners.families import DESCRIBE, FAMILIES
from tadp_captioning.registry import CAPTIONERS

WORDS = (
    "a",
    "an",
    "the",
    "on",
    "and",
    "red",
    "blue",
    "small",
    "dog",
    "cat",
    "tree",
    "star",
    "moon",
    "ring",
    "Describe",
)
COLOURS = ("black", "blue", "green", "orange", "pink", "red", "white", "yellow")
CHAT = (
    "{% for m in messages %}<user>{% for c in m['content'] %}{% if c['type'] == 'image' %}IMAGE"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}<answer>"
)


def tokenizer(*special: str, **names: str):
    """Words, `special` tokens, and further special tokens with a name such as image_token."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<s>", "</s>", "<unk>", *WORDS, "<answer>", "<user>", *special, *names.values()]
    backend = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = Split(Regex(r"\s+"), "removed")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<answer>", "<user>", *special],
        extra_special_tokens=names,
    )


def text_config(words, **more) -> dict:
    return {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "pad_token_id": words.pad_token_id,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        **more,
    }


def florence2():
    from transformers import CLIPImageProcessor, Florence2Config, Florence2Processor

    places = [f"<loc_{i}>" for i in range(8)]
    words = tokenizer(*places, image_token="<image>")
    size = {"height": 64, "width": 64}
    images = CLIPImageProcessor(size=size, crop_size=size, do_center_crop=False)
    images.image_seq_length = 5
    processor = Florence2Processor(
        images, words, post_processor_config={"description_with_bboxes": {}, "pure_text": {}}
    )
    config = Florence2Config(
        vision_config={
            "depths": (1, 1, 1, 1),
            "embed_dim": (8, 8, 16, 16),
            "num_heads": (1, 1, 2, 2),
            "num_groups": (1, 1, 2, 2),
            "window_size": 4,
            "projection_dim": 32,
            "drop_path_rate": 0.0,
        },
        text_config={
            "model_type": "bart",
            "vocab_size": len(words),
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "pad_token_id": words.pad_token_id,
            "bos_token_id": words.bos_token_id,
            "eos_token_id": words.eos_token_id,
            "decoder_start_token_id": words.eos_token_id,
            "forced_eos_token_id": None,
        },
        image_token_id=words.image_token_id,
    )
    return config, processor


def qwen(config_class, processor_class, patch: int, **vision):
    names = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    words = tokenizer("<|vision_start|>", "<|vision_end|>", **names)
    pixels = {"shortest_edge": (2 * patch) ** 2, "longest_edge": (4 * patch) ** 2}
    processor = processor_class(
        transformers.Qwen2VLImageProcessor(size=pixels, patch_size=patch),
        words,
        transformers.Qwen2VLVideoProcessor(size=pixels, patch_size=patch),
        chat_template=CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    ids = words.convert_tokens_to_ids
    config = config_class(
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": patch,
            **vision,
        },
        text_config=text_config(words, rope_parameters={"rope_type": "default", "mrope_section": [2, 3, 3]}),
        image_token_id=words.image_token_id,
        video_token_id=words.video_token_id,
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    return config, processor


def qwen2_5_vl():
    more = {"fullatt_block_indexes": [1], "window_size": 56}
    return qwen(transformers.Qwen2_5_VLConfig, transformers.Qwen2_5_VLProcessor, patch=14, **more)


def qwen3_vl():
    more = {"deepstack_visual_indexes": [0, 1], "num_position_embeddings": 16}
    return qwen(transformers.Qwen3VLConfig, transformers.Qwen3VLProcessor, patch=16, **more)


def idefics3():
    from transformers import Idefics3Config, Idefics3ImageProcessor, Idefics3Processor

    grid = [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    words = tokenizer("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *grid)
    images = Idefics3ImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    processor = Idefics3Processor(images, words, image_seq_len=4, chat_template=CHAT.replace("IMAGE", "<image>"))
    config = Idefics3Config(
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
        text_config={"model_type": "llama", **text_config(words)},
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    return config, processor


BUILDERS = {"florence2": florence2, "qwen2_5_vl": qwen2_5_vl, "qwen3_vl": qwen3_vl, "idefics3": idefics3}


@pytest.fixture(scope="module", params=BUILDERS)
def folder(request, tmp_path_factory) -> Path:
    config, processor = BUILDERS[request.param]()
    torch.manual_seed(0)
    model = getattr(transformers, FAMILIES[request.param].model)(config)
    with torch.no_grad():  # far enough from zero for captions to depend on the image
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.7)
    model.generation_config.update(do_sample=True, temperature=0.7, top_k=5, num_beams=3)
    path = tmp_path_factory.mktemp(request.param) / request.param
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    """Of several sizes, so that answers start at different places in a batch."""
    return [Image.new("RGB", (40 + 9 * i, 60), colour) for i, colour in enumerate(COLOURS)]


def plainly(folder: Path, model, processor, image: Image.Image, count: int) -> Greedy:
    """One image alone, as the model's documentation does it."""
    if folder.name == "florence2":
        inputs = processor(text="<CAPTION>", images=image, return_tensors="pt")
    else:
        asked = [{"type": "image", "image": image}, {"type": "text", "text": DESCRIBE}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": asked}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
    return greedy(model, processor.tokenizer, **inputs, max_new_tokens=count)


def test_captions_are_what_transformers_generates(folder, images):
    """Greedy in batches, whatever the checkpoint's own settings sample, against one plain call per image."""
    captioner = load_captioner(folder, device="cpu", max_new_tokens=6, batch_size=3)
    captions = captioner.caption(images)
    family = FAMILIES[folder.name]
    model = getattr(transformers, family.model).from_pretrained(folder, dtype=torch.float32).eval()
    processor = getattr(transformers, family.processor).from_pretrained(folder)
    assert_same_captions(captions, [plainly(folder, model, processor, image, 6) for image in images])
    assert len(set(captions)) > 1, "the toy model should not say the same of every image"
    assert captions == captioner.caption(images)
    assert not any(word in caption for caption in captions for word in ("<pad>", "<s>", "</s>"))


def test_the_prompt_is_part_of_what_captions_are_kept_under(folder):
    captioner = load_captioner(folder, device="cpu", max_new_tokens=6)
    assert captioner.params == f"min=0_max=6_prompt={FAMILIES[folder.name].prompt}"


def test_min_new_tokens_makes_longer_captions(folder, images):
    def words(least: int) -> list[int]:
        captioner = load_captioner(folder, device="cpu", min_new_tokens=least, max_new_tokens=12, batch_size=8)
        inputs = captioner.family.inputs(captioner.processor, images, captioner.prompt)
        start = 1 if folder.name == "florence2" else inputs["input_ids"].shape[1]
        tokens = captioner.model.generate(**inputs, min_new_tokens=least, max_new_tokens=12)[:, start:]
        return [row.tolist().index(2) if 2 in row else len(row) for row in tokens]

    assert min(words(9)) >= 9


def test_florence_objects_become_a_list_of_names():
    """<OD> answers name<loc><loc><loc><loc>...; only the names are words for a text encoder, each once."""
    from tokenizers.decoders import Fuse

    _, processor = florence2()
    processor.tokenizer.backend_tokenizer.decoder = Fuse()  # no spaces between tokens, as of the real one
    ids = processor.tokenizer.convert_tokens_to_ids
    box = ["<loc_1>", "<loc_2>", "<loc_3>", "<loc_4>"]
    answer = ids(["<s>", "dog", *box, "cat", *box, "dog", *box, "</s>"])
    tokens = torch.tensor([answer, ids(["<s>", "</s>"]) + [0] * (len(answer) - 2)])
    assert FAMILIES["florence2"].texts(processor, tokens, {}, "<OD>") == ["dog, cat", ""]


def test_florence_knows_its_tasks_and_no_others(tmp_path):
    config, processor = florence2()
    transformers.Florence2ForConditionalGeneration(config).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert isinstance(load_captioner(tmp_path, prompt="<OD>", max_new_tokens=3).caption([Image.new("L", (9, 9))]), list)
    with pytest.raises(ValueError, match=r"prompt '<OCR>': .* captions with one of <CAPTION>, <DETAILED_CAPTION>"):
        load_captioner(tmp_path, prompt="<OCR>")


def test_a_model_of_another_kind_is_one_clear_line(tmp_path):
    transformers.LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="models of type 'llama' cannot caption here; expected one of blip-2"):
        load_captioner(tmp_path)


def test_blip2_can_be_asked_too(blip2_folder, images):
    captioner = load_captioner(blip2_folder, device="cpu", prompt="a red", max_new_tokens=5)
    captions = captioner.caption(images)
    assert captioner.params == "min=0_max=5_prompt=a red"
    assert captions != load_captioner(blip2_folder, device="cpu", max_new_tokens=5).caption(images)


@pytest.mark.parametrize("name", CAPTIONERS)
def test_revisions_are_pinned_and_no_model_needs_code_of_its_own(name):
    spec = CAPTIONERS[name]
    assert Path(spec.model).is_absolute() or len(spec.revision) == 40
    assert not spec.model.startswith("microsoft/Florence"), "those hold remote code"
