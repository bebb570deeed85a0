"""Small tokenizers in which each word of Scenes is one token; other words fall apart into pieces, down to bytes."""

import json

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer, GPT2Tokenizer

from tadp_heads.data.scenes.scene import COLOURS, GROUNDS, STYLE_TEMPLATES
from tadp_heads.data.scenes.shapes import CLASSES

OTHER_WORDS = (
    "an image picture photograph of the in on at with and two three four small big style background dashcam foggy "
    "clipart constructivism sketch illustration dark night city street road car person dog bird cat sks"
)


def vocabulary() -> list[str]:
    words = {*CLASSES, *(f"{name}s" for name in CLASSES), *COLOURS, *GROUNDS, *OTHER_WORDS.split()}
    for templates in STYLE_TEMPLATES.values():
        words.update(" ".join(templates).replace("{caption}", "").split())
    return sorted(words)


def build_clip_tokenizer() -> CLIPTokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        show_progress=False,
        end_of_word_suffix="</w>",
        initial_alphabet=letters,
        # Known from the start, as the trainer numbers those that it meets, and breaks ties, in an order of its own.
        special_tokens=[f"{letter}</w>" for letter in letters],
    )
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    learner.train_from_iterator(vocabulary(), trainer)
    vocab, merges = _learned(learner)
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocab[special] = len(vocab)
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)


def build_gpt2_tokenizer() -> GPT2Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=2000, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    learner.train_from_iterator(vocabulary(), trainer)
    vocab, merges = _learned(learner)
    for special in ("</s>", "<pad>", "<image>"):
        vocab[special] = len(vocab)
    return GPT2Tokenizer(
        vocab=vocab, merges=merges, bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>"
    )


def _learned(learner: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(learner.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]
