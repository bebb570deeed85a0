"""Reading segmentation heads by the key names of the paper's public code.

Pascal (tadp_seg.py): `decode_head.decoder.p5.weight`, ..., `decode_head.segmentation_head.0.weight`.
ADE20K and Cityscapes (mmsegmentation): `neck.lateral_convs.0.conv.weight`, ..., `decode_head.conv_seg.weight`.
"""

from collections.abc import Mapping

from torch import Tensor

# Per variant, for each of our two modules: a key that every such state dict has below the module's name, and whether
# that key is telling enough to be found without the name (a VAE has a "decoder." too, "0.weight" is everywhere).
_ANCHORS = {
    "pascal": {"decoder.": ("p5.weight", False), "segmentation_head.": ("0.weight", False)},
    "ade": {"neck.": ("lateral_convs.0.conv.weight", True), "decode_head.": ("scale_heads.0.0.conv.weight", True)},
}
_NECK_ROOTS = ("lateral_convs.", "fpn_convs.")


def read_reference(state_dict: Mapping[str, Tensor], variant: str) -> tuple[list[int], int, dict[str, Tensor]]:
    """-> (channels of the levels, finest first; number of classes; tensors under our names)."""
    weights: dict[str, Tensor] = {}
    for ours, (anchor, telling) in _ANCHORS[variant].items():
        theirs = _prefix(state_dict, anchor if telling else ours + anchor, anchor, variant)
        for key, value in state_dict.items():
            name = key.removeprefix(theirs)
            # Without a prefix, neck and head lie side by side and only their own first names tell them apart.
            if key.startswith(theirs) and (theirs or name.startswith(_NECK_ROOTS) == (ours == "neck.")):
                weights[ours + name] = value
    if variant == "pascal":
        skips = sorted(key for key in weights if key.endswith(".skip_conv.weight"))
        channels = [weights[key].shape[1] for key in (*skips, "decoder.p5.weight")]
        return channels, len(weights["segmentation_head.0.weight"]), weights
    count = sum(key.startswith("neck.lateral_convs.") and key.endswith(".weight") for key in weights)
    channels = [weights[f"neck.lateral_convs.{i}.conv.weight"].shape[1] for i in range(count)]
    return channels, len(weights["decode_head.conv_seg.weight"]), weights


def _prefix(state_dict: Mapping[str, Tensor], suffix: str, anchor: str, variant: str) -> str:
    """What stands before `anchor` in the one key that ends in `suffix`."""
    hits = [key.removesuffix(anchor) for key in state_dict if key == suffix or key.endswith("." + suffix)]
    if len(hits) != 1:
        some = ", ".join(list(state_dict)[:3]) or "nothing"
        raise ValueError(
            f"state dict with {len(hits)} keys ending in {suffix!r} (it has {some}, ...): expected exactly one, as the "
            f"public code's {variant} model has; pass that model's state dict or name the other variant"
        )
    return hits[0]
