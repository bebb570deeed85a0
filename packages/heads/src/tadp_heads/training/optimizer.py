"""Which parameters train, and at which learning rate and weight decay (docs/reference.md, section 4)."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from torch import nn

from tadp_heads.training.config import TrainConfig


class Kind(NamedTuple):
    """What parameters of one group have in common."""

    name: str
    rate: float
    """Learning rate in terms of the head's."""
    weight_decay: float


def named_parts(head: nn.Module, backbone: Any) -> dict[str, nn.Parameter]:
    """{"head.x" | "unet.x" | "text_adapter.x" | ...: parameter} of what may train, the head's first."""
    parts = {"head": head, **getattr(backbone, "trainable_parts", dict)()}
    return {f"{part}.{name}": p for part, module in parts.items() for name, p in module.named_parameters()}


def choose_trained(head: nn.Module, backbone: Any, config: TrainConfig) -> dict[str, nn.Parameter]:
    """{name: parameter} to train; all others are frozen. A pattern of `freeze` without a match is an error."""
    named = named_parts(head, backbone)
    for pattern in config.freeze:
        if not any(fnmatchcase(name, pattern) for name in named):
            known = ", ".join(sorted({".".join(name.split(".")[:2]) for name in named}))
            raise ValueError(f"train.freeze: {pattern!r} names no parameter; they begin with {known}")
    # No process may wait for a gradient of what none reaches.
    unreached = getattr(backbone, "unreached", ())
    frozen = (*config.freeze, *unreached, *(() if config.unet_lr_scale else ("unet.*",)))
    if isinstance(backbone, nn.Module):
        backbone.requires_grad_(False)
    for name, parameter in named.items():
        still = any(fnmatchcase(name, pattern) for pattern in frozen) or (
            # The weights to which LoRA updates are added stay frozen.
            config.lora_rank > 0 and name.startswith("unet.") and "lora_" not in name
        )
        parameter.requires_grad_(not still)
    trained = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    if not trained:
        raise ValueError(f"train.freeze {list(config.freeze)} leaves nothing to train")
    return trained


def parameter_groups(trained: Mapping[str, nn.Parameter], config: TrainConfig) -> list[dict[str, Any]]:
    """Groups for AdamW, each with its learning rate, weight decay and name; the head's first."""
    rule = _RULES[config.groups]
    members: dict[Kind, list[nn.Parameter]] = {}
    for name, parameter in trained.items():
        members.setdefault(rule(name, parameter, config), []).append(parameter)
    return [
        {"params": parameters, "lr": config.lr * kind.rate, "weight_decay": kind.weight_decay, "name": kind.name}
        for kind, parameters in members.items()
    ]


def describe_groups(groups: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line a group: what a rule matched."""
    return [
        f"{group['name']}: {len(group['params'])} tensors, {sum(p.numel() for p in group['params']):,} parameters, "
        f"lr {group['lr']:g}, weight decay {group['weight_decay']:g}"
        for group in groups
    ]


def _plain(name: str, parameter: nn.Parameter, config: TrainConfig) -> Kind:
    part = name.partition(".")[0]
    return Kind(part, config.unet_lr_scale if part == "unet" else 1.0, config.weight_decay)


def _norms_apart(name: str, parameter: nn.Parameter, config: TrainConfig) -> Kind:
    # mmcv's custom_keys look for "norm" in CompVis' names, where only the transformers' norms are called so; here the
    # residual blocks' are, too.
    if name.startswith("unet.") and ".attentions." in name and ".norm" in name:
        return Kind("unet norms", 1.0, 0.0)
    return _plain(name, parameter, config)


def _vectors_undecayed(name: str, parameter: nn.Parameter, config: TrainConfig) -> Kind:
    kind = _plain(name, parameter, config)
    if parameter.ndim <= 1 or name.endswith(".bias"):
        return Kind(f"{kind.name} vectors", kind.rate, 0.0)
    return kind


_RULES = {"plain": _plain, "norms-apart": _norms_apart, "vectors-undecayed": _vectors_undecayed}
