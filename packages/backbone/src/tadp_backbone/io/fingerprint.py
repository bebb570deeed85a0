"""What a backbone's numbers depend on, as one hash: kept features are found again by it."""

import json
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING

from ..text.cache import state_digest

if TYPE_CHECKING:
    from ..backbone import DiffusionBackbone


def fingerprint(backbone: "DiffusionBackbone") -> str:
    """SHA-256 of the weights of all that a pass runs, in their number format, and of all settings.

    The text encoder is left out: what it gives is an input of the pass.
    """
    digest = sha256(json.dumps(asdict(backbone.config)).encode())
    for part in (backbone.unet, backbone.vae, backbone.text_adapter, backbone.learnt_context):
        # Names with an underscore are of the file: where it was read, and which version wrote it.
        settings = {key: value for key, value in getattr(part, "config", {}).items() if not key.startswith("_")}
        digest.update(json.dumps([type(part).__name__, settings], default=str).encode())
        digest.update(b"" if part is None else state_digest(part).encode())
    return digest.hexdigest()
