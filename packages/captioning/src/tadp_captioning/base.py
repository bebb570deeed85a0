"""From a name, a hub id or a folder to an object that captions images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from tadp_captioning.registry import CAPTIONERS, CaptionerSpec

if TYPE_CHECKING:
    from PIL.Image import Image


@runtime_checkable
class Captioner(Protocol):
    """What the rest of the package knows of any captioner."""

    name: str
    """As in the table, or the folder or hub id it was loaded from; written into every caption's record."""
    params: str
    """How captions are generated, e.g. "min=0_max=77"; written into every caption's record."""
    batch_size: int
    """Images taken at once; may shrink while captioning when memory runs out."""

    def caption(self, images: Sequence["Image"]) -> list[str]:
        """One caption an image, in order; any mode and size of image."""
        ...

    def prepare(self, images: Sequence["Image"]) -> Any:
        """What `answer` takes for a batch of images; may run in another thread, while `answer` is busy."""
        ...

    def answer(self, prepared: Any) -> list[str]:
        """One caption an image of what was prepared, in order; a `NoCaption` where the model gave none."""
        ...


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """Greedy decoding, as the paper's captions were made (docs/reference.md, section 6: min 0, 20 or 40, max 77)."""

    min_new_tokens: int = 0
    """Tokens that a caption has at least, end token not counted."""
    max_new_tokens: int = 77
    """Tokens that a caption has at most; 77 is also the length of CLIP's context."""
    prompt: str | None = None
    """What the model is asked, for Florence-2 a task such as "<OD>"; None: what its family is asked best."""

    def __post_init__(self):
        if not 0 <= self.min_new_tokens <= self.max_new_tokens or self.max_new_tokens < 1:
            raise ValueError(
                f"min_new_tokens={self.min_new_tokens}, max_new_tokens={self.max_new_tokens}: "
                "expected 0 <= min <= max and max >= 1"
            )

    @property
    def params(self) -> str:
        """The paper's notation of these settings, as in its file names, and the prompt where one is asked for."""
        lengths = f"min={self.min_new_tokens}_max={self.max_new_tokens}"
        return lengths if self.prompt is None else f"{lengths}_prompt={self.prompt}"


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
    OPENAI_BASE_URL, else OpenAI's own.
    """
    from tadp_captioning.captioners.openai import PREFIX, load_openai_captioner
    from tadp_captioning.captioners.transformers import load_transformers_captioner

    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected at least 1 image at once")
    generation = GenerationConfig(min_new_tokens=min_new_tokens, max_new_tokens=max_new_tokens, prompt=prompt)
    name = str(name_or_path)
    if name.startswith(PREFIX):
        return load_openai_captioner(name, generation=generation, base_url=base_url, batch_size=batch_size)
    return load_transformers_captioner(
        name, _resolve(name), generation=generation, device=device, dtype=dtype, batch_size=batch_size
    )


def _resolve(name: str) -> CaptionerSpec:
    if name in CAPTIONERS:
        spec = CAPTIONERS[name]
        if Path(spec.model).is_absolute() and not (Path(spec.model) / "config.json").is_file():
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
