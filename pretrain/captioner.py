"""The tiny captioner: a Blip2ForConditionalGeneration with its processor, trained from scratch on Scenes."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    GPT2Tokenizer,
    OPTConfig,
)

from pretrain.corpus import SIZE, Chunk, Corpus
from pretrain.grounding import coverage
from pretrain.locality import attend_to_neighbours
from pretrain.loop import LoopConfig, train
from pretrain.tokenizers import build_gpt2_tokenizer
from pretrain.vae import to_model_range
from tadp_heads.data.scenes.scene import caption
from tadp_heads.data.scenes.shapes import CLASSES

QUERIES = 16
PATCH = 8


def build_captioner(tokenizer: GPT2Tokenizer) -> Blip2ForConditionalGeneration:
    vision = Blip2VisionConfig(
        hidden_size=160,
        intermediate_size=480,
        num_hidden_layers=4,
        num_attention_heads=5,
        image_size=SIZE,
        patch_size=PATCH,
        initializer_range=0.02,  # the default, 1e-10, is only for weights that are loaded
    )
    qformer = Blip2QFormerConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        cross_attention_frequency=1,
        encoder_hidden_size=160,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=64,
    )
    text = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        word_embed_proj_dim=128,
        ffn_dim=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        dropout=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    return Blip2ForConditionalGeneration(
        Blip2Config(
            vision_config=vision.to_dict(),
            qformer_config=qformer.to_dict(),
            text_config=text.to_dict(),
            num_query_tokens=QUERIES,
            image_token_index=image_token,
        )
    )


def build_processor(tokenizer: GPT2Tokenizer) -> Blip2Processor:
    images = BlipImageProcessor(
        size={"height": SIZE, "width": SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True
    )
    return Blip2Processor(images, tokenizer, num_query_tokens=QUERIES)


def train_captioner(
    corpus: Corpus,
    tower_config: LoopConfig,
    config: LoopConfig,
    folder: Path,
    export: Callable[[Blip2ForConditionalGeneration, Blip2Processor], None],
    start: Mapping[str, Tensor] | None = None,
) -> None:
    """First the vision tower alone, then all of it on captions; `export` gets copies now and then and last.

    `start`: weights to begin with, as `averaged_weights` of an earlier training's folder gives them.

    The tower learns which classes cover each image patch; that layer is thrown away afterwards. A real BLIP-2, too,
    begins with a tower that has seen images.
    """
    torch.manual_seed(config.seed)
    tokenizer = build_gpt2_tokenizer()
    model = build_captioner(tokenizer)
    attend_to_neighbours(model.vision_model)
    dense = nn.Linear(model.config.vision_config.hidden_size, len(CLASSES) + 1)
    whole = nn.ModuleList([model, dense])
    if start is not None:
        whole.load_state_dict(start, strict=False)
    train(
        nn.ModuleList([model.vision_model, dense]),
        lambda step, generator: _tower_loss(model, dense, *_draw(corpus, step, tower_config, generator)),
        tower_config,
        folder / "tower",
    )
    prefix = [model.config.image_token_index] * QUERIES + [tokenizer.bos_token_id]

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        chunk, picks = _draw(corpus, step, config, generator)
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        captions = [" " + caption(chunk.scene(i), chunk.domain(i), rng) for i in picks.tolist()]
        ids, attention, labels = _teacher_forcing(captions, tokenizer, prefix)
        towers: list[Tensor] = []
        with model.vision_model.register_forward_hook(lambda module, inputs, out: towers.append(out[0])):
            output = model(
                pixel_values=to_model_range(chunk.images[picks]),
                input_ids=ids,
                attention_mask=attention,
                labels=labels,
            )
        seen = _dense_loss(dense, towers[0], chunk.masks[picks])
        return output.loss + seen, {"words": output.loss.item(), "patches": seen.item()}

    processor = build_processor(tokenizer)
    train(whole, step_loss, config, folder, lambda module: export(module[0], processor))


def _draw(corpus: Corpus, step: int, config: LoopConfig, generator: torch.Generator) -> tuple[Chunk, np.ndarray]:
    """The chunk of a step and the indices of its images."""
    chunk = corpus.chunk(step, config.batch_size)
    return chunk, torch.randint(len(chunk.images), (config.batch_size,), generator=generator).numpy()


def _tower_loss(
    model: Blip2ForConditionalGeneration, dense: nn.Linear, chunk: Chunk, picks: np.ndarray
) -> tuple[Tensor, dict[str, float]]:
    output = model.vision_model(to_model_range(chunk.images[picks]))
    return _dense_loss(dense, output.last_hidden_state, chunk.masks[picks]), {}


def _dense_loss(dense: nn.Linear, states: Tensor, masks: np.ndarray) -> Tensor:
    """Cross-entropy between what `dense` reads from the tower's states (B, 1 + 64, hidden) and what the masks say."""
    patches = dense(states[:, 1:])  # (B, 64, classes + 1), the class token left out
    target = coverage(torch.from_numpy(masks), len(CLASSES), SIZE // PATCH)  # (B, classes, 64)
    target = torch.cat([target, 1 - target.sum(1, keepdim=True)], dim=1)
    return F.cross_entropy(patches.transpose(1, 2), target)


def _teacher_forcing(captions: list[str], tokenizer: GPT2Tokenizer, start: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids (B, L) of image tokens, start, caption, end; attention mask; labels, -100 where nothing is to learn."""
    rows = [start + tokenizer(text).input_ids + [tokenizer.eos_token_id] for text in captions]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), tokenizer.pad_token_id)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    attention = (ids != tokenizer.pad_token_id).long()
    labels = ids.masked_fill(attention == 0, -100)
    labels[:, : len(start)] = -100
    return ids, attention, labels
