"""The shipped models are read once per process: reading them takes longer than many tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def shipped_models_are_read_once():
    """Each command of this process gets copies of the shipped models."""
    from tadp_backbone.io import load as loading
    from tadp_captioning.captioners import transformers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "load_model", _models_read_once(loading.load_model))
        read = _captioners_read_once(transformers.load_transformers_captioner)
        patch.setattr(transformers, "load_transformers_captioner", read)
        yield


def _models_read_once(load: Callable[..., Any]) -> Callable[..., Any]:
    from copies import copies_of

    from tadp_backbone.registry import BACKBONES

    shipped, copies = BACKBONES["tiny"].folder, {}

    def read(cls: type, folder: Path, dtype: Any, optional: tuple[str, ...] = ()) -> Any:
        if folder.parent != shipped:
            return load(cls, folder, dtype, optional)
        key = (cls, folder, dtype, optional)
        if key not in copies:
            copies[key] = copies_of(load(*key))
        return copies[key]()

    return read


def _captioners_read_once(load: Callable[..., Any]) -> Callable[..., Any]:
    from copies import copies_of

    copies = {}

    def read(name: str, *args: Any, **options: Any) -> Any:
        if name != "tiny":
            return load(name, *args, **options)
        key = repr((args, options))
        if key not in copies:
            captioner = load(name, *args, **options)
            copies[key] = copies_of(captioner, [captioner.processor])  # a copied tokenizer decodes otherwise
        return copies[key]()

    return read
