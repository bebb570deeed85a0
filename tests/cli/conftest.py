"""What the tests of commands share."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tadp_backbone.io import load as loading
from tadp_backbone.registry import BACKBONES
from tadp_captioning.captioners import transformers


@pytest.fixture(scope="session", autouse=True)
def shipped_models_are_read_once():
    """Each command of this process gets copies of the shipped models: reading them takes longer than many tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "load_model", _models_read_once())
        patch.setattr(transformers, "load_transformers_captioner", _captioners_read_once())
        yield


def _models_read_once():
    load, shipped, loaded = loading.load_model, BACKBONES["tiny"].folder, {}

    def copied(cls: type, folder: Path, dtype: Any, optional: tuple[str, ...] = ()) -> Any:
        if folder.parent != shipped:
            return load(cls, folder, dtype, optional)
        key = (cls, folder, dtype, optional)
        if key not in loaded:
            loaded[key] = load(*key)
        return deepcopy(loaded[key])

    return copied


def _captioners_read_once():
    load, loaded = transformers.load_transformers_captioner, {}

    def copied(name: str, *args: Any, **options: Any) -> Any:
        if name != "tiny":
            return load(name, *args, **options)
        key = repr((args, options))
        if key not in loaded:
            loaded[key] = load(name, *args, **options)
        processor = loaded[key].processor  # a copy of a tokenizer decodes otherwise; nobody changes it
        return deepcopy(loaded[key], {id(processor): processor})

    return copied
