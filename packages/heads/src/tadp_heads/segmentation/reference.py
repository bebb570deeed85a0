"""Reading segmentation heads by the key names of the paper's public code.

Pascal (tadp_seg.py): `decode_head.decoder.p5.weight`, ..., and a 1x1 classifier next to the decoder, such as
`decode_head.segmentation_head.0.weight`.
ADE20K and Cityscapes (mmsegmentation): `neck.lateral_convs.0.conv.weight`, ..., `decode_head.conv_seg.weight`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ReferenceHead:
    """A head as read from a state dict."""

    channels: tuple[int, ...]
    """Of the levels it reads, finest first."""
    num_classes: int
    width: int
    """Channels of the pyramid."""
    inner_width: int
    """Input channels of the classifier."""
    weights: dict[str, Tensor]
    """Under our names."""


def read_reference(state_dict: Mapping[str, Tensor], variant: str) -> ReferenceHead:
    """The head of that variant in the state dict of a head or of a whole model, under any outer prefix."""
    return _read_pascal(state_dict) if variant == "pascal" else _read_ade(state_dict)


def _read_pascal(state_dict: Mapping[str, Tensor]) -> ReferenceHead:
    decoder = _prefix(state_dict, "p5.weight", "pascal")
    weights = {f"decoder.{key}": value for key, value in _below(state_dict, decoder).items()}
    outer = decoder.removesuffix("decoder.")
    siblings = {
        key: value
        for key, value in _below(state_dict, outer).items()
        if not (outer + key).startswith(decoder) and key.endswith(".0.weight")
    }
    inner_width = _shape(weights, "decoder.seg_blocks.0.block.0.block.0.weight")[0]
    # The classifier's module has no name that all versions of the code agree on; it is recognised by its shape.
    classifiers = [key for key, value in siblings.items() if tuple(value.shape[1:]) == (inner_width, 1, 1)]
    named = [key for key in classifiers if key == "segmentation_head.0.weight"] or classifiers
    if len(named) != 1:
        raise ValueError(
            f"{len(named)} classifiers of {inner_width} channels next to {decoder!r} ({', '.join(named) or 'none'}): "
            "expected one such as segmentation_head.0.weight; pass the state dict of the whole head"
        )
    classifier = outer + named[0].removesuffix("weight")
    weights |= {f"segmentation_head.0.{key}": value for key, value in _below(state_dict, classifier).items()}
    skips = sorted(key for key in weights if key.endswith(".skip_conv.weight"))
    return ReferenceHead(
        channels=tuple(weights[key].shape[1] for key in (*skips, "decoder.p5.weight")),
        num_classes=len(weights["segmentation_head.0.weight"]),
        width=len(weights["decoder.p5.weight"]),
        inner_width=inner_width,
        weights=weights,
    )


def _read_ade(state_dict: Mapping[str, Tensor]) -> ReferenceHead:
    neck = _prefix(state_dict, "lateral_convs.0.conv.weight", "ade")
    head = _prefix(state_dict, "scale_heads.0.0.conv.weight", "ade")
    # Each is recognised by its own first names: without prefixes neck and head are siblings.
    parts = {"neck.": (neck, ("lateral_convs.", "fpn_convs.")), "decode_head.": (head, ("scale_heads.", "conv_seg."))}
    weights = {
        ours + key: value
        for ours, (theirs, roots) in parts.items()
        for key, value in _below(state_dict, theirs).items()
        if key.startswith(roots)
    }
    laterals = sum(key.startswith("neck.lateral_convs.") and key.endswith(".weight") for key in weights)
    num_classes, inner_width = _shape(weights, "decode_head.conv_seg.weight")[:2]
    return ReferenceHead(
        channels=tuple(_shape(weights, f"neck.lateral_convs.{i}.conv.weight")[1] for i in range(laterals)),
        num_classes=num_classes,
        width=len(weights["neck.lateral_convs.0.conv.weight"]),
        inner_width=inner_width,
        weights=weights,
    )


def _below(state_dict: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}


def _shape(weights: Mapping[str, Tensor], key: str) -> tuple[int, ...]:
    if key not in weights:
        raise ValueError(f"the head is incomplete: {key} is missing; pass the state dict of the whole head")
    return tuple(weights[key].shape)


def _prefix(state_dict: Mapping[str, Tensor], anchor: str, variant: str) -> str:
    """What stands before `anchor` in the one key that ends in it."""
    hits = [key.removesuffix(anchor) for key in state_dict if key == anchor or key.endswith("." + anchor)]
    if len(hits) != 1:
        some = ", ".join(list(state_dict)[:3]) or "nothing"
        raise ValueError(
            f"state dict with {len(hits)} keys ending in {anchor!r} (it has {some}, ...): expected exactly one, as the "
            f"public code's {variant} model has; pass that model's state dict or name the other variant"
        )
    return hits[0]
