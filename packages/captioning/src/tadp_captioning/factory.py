"""From a name, a hub id or a folder to an object that captions images."""

from functools import partial
from pathlib import Path
from typing import Any

from tadp_captioning.base import Captioner, GenerationConfig
from tadp_captioning.registry import CAPTIONERS, CaptionerSpec


def load_captioner(
    name_or_path: str | Path = "blip2",
    *,
    device: str | None = None,
    dtype: str | None = None,
    min_new_tokens: int = 0,
    max_new_tokens: int = 77,
    prompt: str | None = None,
    batch_size: int | None = None,
    base_url: str | None = None,
) -> Captioner:
    """A captioner of the table, of a hub id, of a local folder, or "openai:MODEL" of an OpenAI-compatible server.

    `device` None takes the first GPU, or the CPU where there is none. `dtype` ("float32", "float16", "bfloat16")
    None is float32 on the CPU and float16 elsewhere. `batch_size` None starts with a size that fits most devices;
    it is halved whenever memory runs out. `base_url` is of the server that an "openai:" captioner asks; None:
    OPENAI_BASE_URL, else OpenAI's own. ValueError for an unknown name, and for a setting that it does not take.
    """
    from tadp_captioning.captioners.openai import PREFIX, TAGS_SLOT, load_openai_captioner
    from tadp_captioning.captioners.registered import BATCH_SIZE, RegisteredCaptioner
    from tadp_captioning.captioners.transformers import load_transformers_captioner

    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected at least 1 image at once")
    generation = GenerationConfig(min_new_tokens=min_new_tokens, max_new_tokens=max_new_tokens, prompt=prompt)
    name = str(name_or_path)
    if name.startswith(PREFIX):
        return load_openai_captioner(name, generation=generation, base_url=base_url, batch_size=batch_size)
    if prompt is not None and TAGS_SLOT in prompt:
        raise ValueError(f"captioner {name!r}: a prompt with {TAGS_SLOT} needs a chat model: use openai:MODEL")
    spec = _resolve(name)
    if spec.factory is not None:
        own = spec.factory(device=device, generation=generation)
        return RegisteredCaptioner(name, own, generation, batch_size or BATCH_SIZE)
    return load_transformers_captioner(
        name, spec, generation=generation, device=device, dtype=dtype, batch_size=batch_size
    )


def captioner_on_demand(name_or_path: str | Path = "blip2", **settings: Any) -> Captioner:
    """As `load_captioner`, but a model's weights are read for the first image that has to be captioned.

    Its configuration is read now. Where all images have captions by it, nothing else is.
    """
    from tadp_captioning.captioners.on_demand import CaptionerOnDemand
    from tadp_captioning.captioners.openai import PREFIX
    from tadp_captioning.captioners.transformers import START_BATCH, params_of

    name = str(name_or_path)
    load = partial(load_captioner, name_or_path, **settings)
    if name.startswith(PREFIX) or (spec := _resolve(name)).factory is not None:
        return load()
    given = {key: settings[key] for key in ("min_new_tokens", "max_new_tokens", "prompt") if key in settings}
    params = params_of(name, spec, GenerationConfig(**given))
    return CaptionerOnDemand(name, params, settings.get("batch_size") or START_BATCH["cpu"], load)


def is_captioner(name: str) -> bool:
    """Whether `load_captioner` takes this name; nothing is loaded, and a server or hub id is not looked up."""
    from tadp_captioning.captioners.openai import PREFIX

    try:
        return name.startswith(PREFIX) or _resolve(name) is not None
    except ValueError:
        return False


def _resolve(name: str) -> CaptionerSpec:
    if name in CAPTIONERS:
        spec = CAPTIONERS[name]
        if spec.factory is None and Path(spec.model).is_absolute() and not (Path(spec.model) / "config.json").is_file():
            raise ValueError(f"captioner {name!r}: its weights are missing from this installation ({spec.model})")
        return spec
    if (Path(name) / "config.json").is_file() or _looks_like_hub_id(name):
        return CaptionerSpec(model=name)
    raise ValueError(
        f"unknown captioner {name!r}; expected one of {', '.join(CAPTIONERS)}, a folder with a config.json, "
        "or a hub id such as Salesforce/blip2-opt-2.7b"
    )


def _looks_like_hub_id(name: str) -> bool:
    owner, slash, model = name.partition("/")
    return bool(slash and owner and model) and "/" not in model and not Path(name).exists() and owner not in {".", ".."}
