"""Text embeddings on disk: a frozen text encoder runs once a caption."""

import json
import logging
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .._io import replacing
from ..io.files import read_safetensors
from .conditioning import build_context, clip_templates, concatenate
from .encoder import TextBackbone, text_parts

_log = logging.getLogger(__name__)
_DECISIVE = ("hidden_act", "num_attention_heads", "layer_norm_eps")


class TextCache:
    """`build_context` with a memory in a folder.

    An entry is found again by the text, the weights and settings of the text encoder, the vocabulary, the padding and
    the templates: after a token was learned or loaded, other entries are used. Several processes may share the folder.
    """

    def __init__(self, folder: str | Path, backbone: TextBackbone):
        self.folder = Path(folder)
        self.backbone = backbone
        self._state: tuple | None = None
        self._fingerprint = ""

    def build(self, names: str, *, captions: Sequence[str] = (), class_names: Sequence[str] = ()) -> Tensor:
        """As `conditioning.build_context`: (B or 1, T, D) on the encoder's device."""
        parts = []
        for name in names.split("+"):
            if name == "caption" and captions:
                parts.append(torch.cat([self._entry("caption", captions=[caption]) for caption in captions]))
            else:
                parts.append(self._entry(name, class_names=list(class_names)))
        return concatenate(*parts)

    def _entry(self, name: str, **texts: list[str]) -> Tensor:
        key = json.dumps([name, texts, self.fingerprint(), clip_templates() if name == "averaged-eos" else ""])
        file = self.folder / f"{sha256(key.encode()).hexdigest()}.safetensors"
        entry = kept(file, lambda: {"context": build_context(self.backbone, name, **texts)})
        _, encoder = text_parts(self.backbone)
        return entry["context"].to(encoder.device)

    def fingerprint(self) -> str:
        """Hash of the text encoder's weights and the vocabulary, taken again when either changed."""
        tokenizer, encoder = text_parts(self.backbone)
        weights = tuple((id(p), p._version) for p in encoder.parameters())
        state = (len(tokenizer), tokenizer.pad_token_id, weights)
        if state != self._state:
            digest = sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
            # The same weights compute otherwise with another padding, another length or another activation.
            config = [getattr(encoder.config, name, None) for name in _DECISIVE]
            digest.update(json.dumps([tokenizer.pad_token_id, tokenizer.model_max_length, config]).encode())
            digest.update(state_digest(encoder).encode())
            self._state, self._fingerprint = state, digest.hexdigest()
        return self._fingerprint


def state_digest(module: nn.Module) -> str:
    """Hash of a module's weights and their names."""
    digest = sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def kept(file: Path, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of a file, computed and written where it is not there yet or is damaged; on the CPU, no gradient."""
    if file.is_file():
        try:
            return read_safetensors(file)
        except ValueError as error:
            _log.warning("computed again: %s", error)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in compute().items()}
    with replacing(file) as partial:
        save_file(tensors, partial)
    return tensors
