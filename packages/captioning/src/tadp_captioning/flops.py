"""Parameters and arithmetic of a captioner, counted on a model without weights."""

from typing import TYPE_CHECKING, NamedTuple

from tadp_captioning.registry import CAPTIONERS

if TYPE_CHECKING:
    from transformers import Blip2Config, Blip2ForConditionalGeneration

_OPT_2_7B = {
    "hidden_size": 2560,
    "num_hidden_layers": 32,
    "ffn_dim": 10240,
    "num_attention_heads": 32,
    "word_embed_proj_dim": 2560,
    "vocab_size": 50304,
}


class CaptionerCosts(NamedTuple):
    """Of one image."""

    parameters: int
    multiply_adds: float


def captioner_costs(name: str, tokens: int) -> CaptionerCosts:
    """Of "blip2" or "tiny" for a caption of `tokens` new tokens, with the keys and values of earlier ones kept."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import Blip2ForConditionalGeneration

    config = _config(name)
    with torch.device("meta"), torch.no_grad():
        model = Blip2ForConditionalGeneration(config).eval()
        with FlopCounterMode(display=False) as counter:
            _generate(model, config, tokens)
    return CaptionerCosts(sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 2)


def _config(name: str) -> "Blip2Config":
    from transformers import Blip2Config, OPTConfig

    if name == "blip2":  # the sizes of its repository's config.json; vision model and Q-Former have the defaults
        return Blip2Config(text_config=OPTConfig(**_OPT_2_7B).to_dict())
    if name == "tiny":
        return Blip2Config.from_pretrained(CAPTIONERS[name].model, local_files_only=True)
    raise ValueError(f"the costs of the captioner {name!r} are not known; choose from blip2, tiny")


def _generate(model: "Blip2ForConditionalGeneration", config: "Blip2Config", tokens: int) -> None:
    """The parts in one pass each: prompt and caption together are as many multiplications as token by token."""
    import torch

    side = config.vision_config.image_size
    seen = model.vision_model(torch.empty(1, 3, side, side)).last_hidden_state
    queries = model.qformer(query_embeds=model.query_tokens, encoder_hidden_states=seen).last_hidden_state
    prompt = model.language_projection(queries).shape[1] + 1  # and the begin token
    model.language_model(inputs_embeds=torch.empty(1, prompt + tokens, config.text_config.hidden_size))
