"""The text encoder inside an original Stable Diffusion checkpoint -> CLIPTextModel."""

from collections.abc import Mapping

from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from .checkpoint import count, load_strictly, looks_like, rename, under

_CLIP = "cond_stage_model.transformer.text_model."
_OPEN_CLIP = "cond_stage_model.model."
_OPEN_CLIP_ENDS = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_OPEN_CLIP_LAYER = (
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("attn.out_proj.", "self_attn.out_proj."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
)
_HEAD_WIDTH = 64


def text_encoder_from_ldm(state_dict: Mapping[str, Tensor]) -> CLIPTextModel:
    """CLIP as in Stable Diffusion 1, or OpenCLIP without its last layer as in version 2.

    Sizes are read from the tensors; attention has 64 channels per head.
    """
    if clip := under(state_dict, _CLIP):
        state, activation, named = clip, "quick_gelu", _CLIP.__add__
    elif open_clip := under(state_dict, _OPEN_CLIP):
        state, activation, named = _from_open_clip(open_clip), "gelu", _open_clip_name
    else:
        raise ValueError(f"no text encoder in it (no key begins with {_CLIP}); it looks like {looks_like(state_dict)}")
    sizes = (
        "embeddings.token_embedding.weight",
        "embeddings.position_embedding.weight",
        "encoder.layers.0.mlp.fc1.weight",
    )
    for key in sizes:
        if key not in state:
            raise ValueError(f"the text encoder is incomplete: {named(key)} is missing")
    model = CLIPTextModel(_config(state, activation))
    # transformers had its layers below "text_model." before 5.6
    below = "text_model." if hasattr(model, "text_model") else ""
    state = {below + key: tensor for key, tensor in state.items()}
    names = {key: named(key.removeprefix(below)) for key in model.state_dict()}
    load_strictly(model, state, "the text encoder", names)
    return model.eval()


def _config(state: Mapping[str, Tensor], activation: str) -> CLIPTextConfig:
    vocabulary, width = state["embeddings.token_embedding.weight"].shape
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=len(state["encoder.layers.0.mlp.fc1.weight"]),
        num_hidden_layers=count(state, "encoder.layers."),
        num_attention_heads=width // _HEAD_WIDTH,
        max_position_embeddings=len(state["embeddings.position_embedding.weight"]),
        hidden_act=activation,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )


def _from_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's names -> CLIPTextModel's, the last layer left out: version 2 reads the one before."""
    layers = count(state, "transformer.resblocks.") - 1
    renamed = {new: state[old] for new, old in _OPEN_CLIP_ENDS.items() if old in state}
    for i in range(layers):
        new = f"encoder.layers.{i}."
        for key, tensor in under(state, f"transformer.resblocks.{i}.").items():
            if key.startswith("attn.in_proj_"):
                kind = key.removeprefix("attn.in_proj_")  # weight or bias of q, k and v in one
                for name, part in zip("qkv", tensor.chunk(3), strict=True):
                    renamed[f"{new}self_attn.{name}_proj.{kind}"] = part
            else:
                renamed[new + rename(key, _OPEN_CLIP_LAYER)] = tensor
    return renamed


def _open_clip_name(key: str) -> str:
    """CLIPTextModel's key -> the one that an OpenCLIP file should have."""
    if key in _OPEN_CLIP_ENDS:
        return _OPEN_CLIP + _OPEN_CLIP_ENDS[key]
    number, _, inner = key.removeprefix("encoder.layers.").partition(".")
    old = [(new, old) for old, new in _OPEN_CLIP_LAYER]
    old += [(f"self_attn.{name}_proj.", "attn.in_proj_") for name in "qkv"]
    return f"{_OPEN_CLIP}transformer.resblocks.{number}.{rename(inner, old)}"
