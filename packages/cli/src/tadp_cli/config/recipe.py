"""A recipe: everything that decides a training run, typed, read from TOML."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tadp_cli.config.default_models import default_backbone, default_captioner
from tadp_cli.config.documentation import comment_of
from tadp_cli.config.inheritance import FORMAT, Source, merged, place_of, read_sources, with_settings
from tadp_cli.config.personalize import PersonalizeConfig
from tadp_cli.config.prompt import (
    MODIFIERS,
    PresenceConfig,
    PromptConfig,
)
from tadp_cli.config.removed import without_removed
from tadp_cli.config.schema import build, parse, put, toml, toml_key
from tadp_cli.plugins import check_plugins, given_plugins
from tadp_cli.prompts.kind import PromptKind, prompt_kind
from tadp_heads.registry import TASKS
from tadp_heads.schema import MOST_FACTOR, SettingError, at_least, checked, one_of
from tadp_heads.training.config import TrainConfig
from tadp_heads.training.self_training.config import SelfTrainingConfig

POSTERIORS = ("", "mode", "sample")
IMAGE_RANGES = ("sd", "imagenet")
CONDITION_MODIFIERS = ("null", "simple", "nearby", "unrelated")
MAP_INDICES = ("token", "class", "presence")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    folder: str = ""
    """A data set in one of the user layouts, or NAME:FOLDER of `tadp data list`; `--data` sets it."""
    train: str = "train"
    """Name of the split that is trained on."""
    val: str = "val"
    """Name of the split that is evaluated after training."""
    captions: str = ""
    """File of captions, for the prompt "caption"; without one the captioner writes them into the run."""
    captioner: str = ""
    """Who captions what has no caption; empty: the author of data.captions, and without captions tiny for the backbone
    tiny and for Scenes, else blip2. Of captions by several authors, those by this one are taken. A run records it."""
    min_tokens: int = 0
    """Minimum number of new tokens of a caption that is written (the paper's TADP-0, -20 and -40); a run records that
    of its captions, and the two settings that follow."""
    max_tokens: int = 77
    """Maximum number of new tokens."""
    captioner_prompt: str = ""
    """Prompt of the captioner, e.g. <OD> of Florence-2; empty: its family's default."""


@dataclass(frozen=True, kw_only=True)
class TestConfig:
    folder: str = ""
    """A data set of another domain that the trained model is evaluated on too, named as data.folder; empty: none."""
    split: str = "test"
    """Name of its split that is evaluated."""
    captions: str = ""
    """File of its captions; without one the captioner writes them, and the words for prompt.domain are removed
    (paper 4.3)."""
    conditions: tuple[str, ...] = ()
    """Several target domains in one data set, such as fog, night, rain and snow of ACDC: each is a split
    CONDITION/SPLIT, evaluated under the prompt of its own domain; results.json has each of them and their mean."""
    modifier: str = "simple"
    """Modifier of the conditions' prompts: null, simple, nearby or unrelated."""
    cleaner: str = "rules"
    """What removes those words: rules, or openai:MODEL of an OpenAI-compatible server (the paper used GPT-3.5)."""

    def __post_init__(self) -> None:
        from tadp_captioning.cleaning.factory import check_cleaner

        try:
            check_cleaner(self.cleaner)
        except ValueError as error:
            raise ValueError(f"test.cleaner: {error}") from error
        one_of("test.modifier", self.modifier, CONDITION_MODIFIERS)
        if self.conditions:
            self._check_conditions()

    def _check_conditions(self) -> None:
        from tadp_captioning.domains import DOMAINS

        for name in self.conditions:
            one_of("condition in test.conditions", name, tuple(DOMAINS))
        if len(set(self.conditions)) < len(self.conditions):
            raise ValueError(f"test.conditions is {list(self.conditions)}: name each condition once")
        if not self.folder:
            raise ValueError("test.conditions needs a data set: set test.folder")

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that are evaluated."""
        return tuple(f"{condition}/{self.split}" for condition in self.conditions) or (self.split,)


@dataclass(frozen=True, kw_only=True)
class BackboneSection:
    source: str = ""
    """A source for `DiffusionBackbone.from_pretrained`; empty: tiny for Scenes, sd15 for all other data. A run
    records it."""
    vae: str = ""
    """Image encoder; empty: the source's own VAE, taesd: the small encoder distilled from it, several times as
    fast (AutoencoderTiny, for tiny, sd15 and sd21), else a diffusers folder of a VAE with the same latents."""
    version: int = 0
    """Version of the weights that come with the package, recorded by runs; 0: the current one."""
    unet: str = ""
    """Folder of a UNet that replaces the source's (DreamBooth)."""
    lora: str = ""
    """LoRA to merge into UNet and text encoder: what `tadp personalize --method dreambooth --rank N` wrote, or any file
    or folder of diffusers, kohya or peft."""
    lora_scale: float = 1.0
    """Scale of the LoRA updates."""
    timestep: int = 1
    """Diffusion step at which features are read, 0 to 999: the paper's code reads them at 1, the paper writes 0."""
    latent_scale: float = 0.0
    """Factor on the latents; 0: the VAE's own (latent scaling, LS), 1: left unscaled, as VPD did."""
    posterior: str = ""
    """How latents are taken from the VAE's posterior: mode or sample; empty: the source's setting, mode for weights of
    Stable Diffusion. The paper's code samples exactly when it scales."""
    noise: bool = False
    """Whether noise of level `timestep` is added to the latents first, as in generation; the paper reads clean ones."""
    taps: tuple[str, ...] = ()
    """Modules of the UNet whose outputs are the features, finest first, e.g. up_blocks.3.attentions.2; empty: the
    paper's."""
    map_strides: tuple[int, ...] = ()
    """Strides in image pixels at which cross-attention maps are read; empty: the source's, 16 and 32 of Stable
    Diffusion."""
    detach_maps: bool = True
    """Whether the gradient stops at the maps, as in the paper's code; false lets it pass into the UNet."""
    attention_maps: bool = True
    """Whether the head gets cross-attention maps with the features; the paper's code leaves them out for depth."""
    map_index: str = "token"
    """Meaning of a map's channel. token: a position in the prompt, as in the paper. class: one of the data's classes,
    wherever its words occur in the prompt. presence: no maps, but for each class whether the prompt names it, constant
    over cells."""
    map_words: tuple[str, ...] = ()
    """The names that map_index counts, in place of the data's classes: needed where the data has none, as for depth."""
    text_adapter: bool = False
    """A small residual network on the context, trained with the head (VPD; the paper's ADE20K and NYUv2 baselines)."""
    image_range: str = "sd"
    """Pixel values as the VAE gets them: sd, [-1, 1], or imagenet, as the paper's code has Cityscapes and detection."""


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    metrics: dict[str, float] = field(default_factory=dict)
    """{name: value} as in results.json: shares as 0..1, depth errors in metres."""
    source: str = ""
    """Where the numbers stand, such as "paper, Table 1, TADP-40"."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    task: str = "segmentation"
    """segmentation, depth, detection, or one that a plugin registers."""
    description: str = ""
    """What the recipe is for, in one line, as `tadp recipes` shows it."""
    data: DataConfig = field(default_factory=DataConfig)
    """What is trained on and evaluated on, and its captions."""
    test: TestConfig = field(default_factory=TestConfig)
    """Data of another domain."""
    prompt: PromptConfig = field(default_factory=PromptConfig)
    """The text of each image (paper 4.1 to 4.3)."""
    presence: PresenceConfig = field(default_factory=PresenceConfig)
    """The image tagger, for kinds of prompt that use one (docs/presence.md)."""
    personalize: PersonalizeConfig = field(default_factory=PersonalizeConfig)
    """How the target domain is learned, for the modifiers textual-inversion and dreambooth (paper App. D.1)."""
    backbone: BackboneSection = field(default_factory=BackboneSection)
    """The diffusion model, and what of it is read (docs/reference.md, section 0)."""
    head: dict[str, Any] = field(default_factory=dict)
    """`name` of the task's head, registered or built in, and further arguments of its class."""
    loss: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the task's loss, such as kind = "focal" or average = "all" of segmentation."""
    protocol: str = ""
    """How images are predicted and evaluated; empty: the task's first protocol."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimization."""
    self_training: SelfTrainingConfig = field(default_factory=SelfTrainingConfig)
    """Unlabelled images of the target's domain, on which the model's own confident predictions are labels."""
    seeds: tuple[int, ...] = (0,)
    """Those with which the experiment is repeated; one run takes train.seed."""
    target: TargetConfig = field(default_factory=TargetConfig)
    """What the paper reports, for its tables' rows."""
    plugins: dict[str, str] = field(default_factory=dict)
    """{file name: SHA-256} of the files of --plugin that a run was made with; they are not loaded by it."""

    def __post_init__(self) -> None:
        TASKS.check(self.task)
        kind = self.kind
        one_of("prompt.modifier", self.prompt.modifier, MODIFIERS)
        one_of("backbone.posterior", self.backbone.posterior, POSTERIORS)
        if self.backbone.vae == "taesd" and self.backbone.posterior == "sample":
            raise ValueError(
                "backbone.vae 'taesd' has no posterior to sample: set backbone.posterior=mode, or leave the vae out"
            )
        one_of("backbone.map_index", self.backbone.map_index, MAP_INDICES)
        if self.backbone.map_index != "token":
            self._check_class_maps()
        elif self.backbone.map_words:
            raise ValueError("backbone.map_words needs backbone.map_index class or presence: set one, or leave it out")
        if self.needs_presence:
            self._check_presence()
        kind.check(self)
        if self.backbone.map_strides and not self.backbone.attention_maps:
            raise ValueError("backbone.map_strides needs maps: set backbone.attention_maps=true, or leave it out")
        one_of("backbone.image_range", self.backbone.image_range, IMAGE_RANGES)
        at_least("backbone.latent_scale", self.backbone.latent_scale, 0, MOST_FACTOR)
        at_least("backbone.timestep", self.backbone.timestep, 0, 999)
        at_least("data.min_tokens", self.data.min_tokens, 0)
        at_least("data.max_tokens", self.data.max_tokens, max(1, self.data.min_tokens))
        if not (0 < self.prompt.precision <= 1 and 0 < self.prompt.recall <= 1):
            given = f"prompt.precision {self.prompt.precision} and prompt.recall {self.prompt.recall}"
            raise ValueError(f"{given}: expected shares above 0, at most 1")
        if (self.prompt.precision, self.prompt.recall) != (1, 1) and not kind.sampled:
            raise ValueError(f"prompt.precision and prompt.recall go with the oracle, not with {self.prompt.kind!r}")
        if self.prompt.modifier != "null" and not self.prompt.domain:
            raise ValueError(f"prompt.modifier {self.prompt.modifier!r} needs prompt.domain, e.g. watercolor")
        if self.prompt.modifier == "textual-inversion" and not self.prompt.token_file:
            raise ValueError("prompt.modifier 'textual-inversion' needs prompt.token_file; `tadp personalize` makes it")
        if self.prompt.modifier == "dreambooth" and not (self.backbone.unet or self.backbone.lora):
            raise ValueError(
                "prompt.modifier 'dreambooth' needs the UNet or the LoRA that was tuned: set backbone.unet or "
                "backbone.lora; `tadp personalize --method dreambooth` makes them"
            )
        if self.backbone.lora_scale != 1 and not self.backbone.lora:
            raise ValueError("backbone.lora_scale needs backbone.lora: name the LoRA, or leave it out")
        at_least("backbone.lora_scale", self.backbone.lora_scale, 0, MOST_FACTOR)
        if self.prompt.modifier_style == "reference":
            self._check_reference_strings()
        if self.prompt.styles:
            self._check_styles()

    def _check_reference_strings(self) -> None:
        from tadp_captioning.domains import modify

        modifier = self.prompt.modifier
        if modifier == "null":
            return
        modify("", self.prompt.target, modifier, style="reference")  # says what the code has no string for
        if modifier == "textual-inversion" and self.prompt.token not in ("", self.prompt.target.token):
            raise ValueError(
                f"prompt.modifier_style 'reference' writes {self.prompt.target.token}, and prompt.token is "
                f"{self.prompt.token!r}: learn the token under that name, or leave prompt.modifier_style out"
            )

    def _check_styles(self) -> None:
        from tadp_captioning.domains import DOMAINS

        styles = self.prompt.styles
        for name in styles:
            one_of("style in prompt.styles", name, tuple(DOMAINS))
        if len(set(styles)) < len(styles):
            raise ValueError(f"prompt.styles is {list(styles)}: name each style once")
        if not self.kind.is_text:
            raise ValueError(f"prompt.styles needs a text prompt, and {self.prompt.kind!r} is an embedding")

    def _check_class_maps(self) -> None:
        given = f"backbone.map_index {self.backbone.map_index!r}"
        if not self.kind.is_text:
            raise ValueError(f"{given} needs a text prompt, and {self.prompt.kind!r} is an embedding")
        if not self.backbone.attention_maps:
            raise ValueError(f"{given} needs backbone.attention_maps")
        if len(set(self.backbone.map_words)) < len(self.backbone.map_words):
            raise ValueError(f"backbone.map_words is {list(self.backbone.map_words)}: name each class once")
        if self.train.cache:
            raise ValueError(f"{given}: train.cache keeps embeddings without their words; leave it empty")

    def _check_presence(self) -> None:
        given = f"prompt {self.prompt.kind!r}"
        if self.task == "depth":
            raise ValueError(f"{given} needs classes, and depth has none: use caption")
        moving = self.train.unet_lr_scale > 0 or self.backbone.text_adapter
        if self.presence.source == "mask" and self.task != "segmentation":
            raise ValueError(f"presence.source 'mask' reads masks of classes, and {self.task} has none: use another")
        if moving and self.presence.source in ("head", "mask"):
            raise ValueError(f"{given} needs features of a frozen backbone: set train.unet_lr_scale=0")

    @property
    def kind(self) -> type[PromptKind]:
        """The class of its prompts."""
        return prompt_kind(self.prompt.kind)

    @property
    def needs_presence(self) -> bool:
        """Whether prompts are made by the image tagger."""
        return "tags" in self.kind.needs

    @property
    def needs_captions(self) -> bool:
        """Whether prompts are made of captions, or the image tagger reads them."""
        presence = self.presence
        tagged = self.needs_presence and presence.source in ("head", "mask") and presence.first_pass == "caption"
        return tagged or "captions" in self.kind.needs

    @property
    def of_training_prompts(self) -> "Recipe":
        """That by which training prompts are made: where styles are drawn, they alone are put into them."""
        return self.replace(**{"prompt.modifier": "null"}) if self.prompt.styles else self

    @property
    def captioner(self) -> str:
        """Name of the captioner for images without a caption."""
        return self.data.captioner or default_captioner(self._data, self.backbone.source)

    @property
    def with_backbone(self) -> "Recipe":
        """The recipe with the backbone that its data lead to, where it names none."""
        return self if self.backbone.source else self.replace(**{"backbone.source": default_backbone(self._data)})

    @property
    def _data(self) -> list[str]:
        return [self.data.folder] if self.data.folder else []

    @property
    def captioning(self) -> dict[str, Any]:
        """Who captions images and how: arguments of `prompts.captions.Author`."""
        data = self.data
        lengths = {"min_tokens": data.min_tokens, "max_tokens": data.max_tokens}
        return {"captioner": self.captioner, **lengths, "prompt": data.captioner_prompt}

    def replace(self, **changes: Any) -> "Recipe":
        """The recipe with settings replaced by their dotted names: `replace(**{"train.steps": 10})`."""
        tree = dataclasses.asdict(self)
        return build(Recipe, with_settings(tree, changes.items()))

    def to_toml(self) -> str:
        """TOML that `load_recipe` reads back, a comment above each setting."""
        lines, sections = [f"format = {FORMAT}"], []
        for name, value in dataclasses.asdict(self).items():
            own, comment = getattr(self, name), comment_of(Recipe, name)
            if isinstance(value, dict):
                comments = {key: comment_of(type(own), key) for key in value if dataclasses.is_dataclass(own)}
                inner = (f"{comments.get(key, '')}{toml_key(key)} = {toml(item)}" for key, item in value.items())
                sections += [f"\n{comment}[{name}]", *inner]
            else:
                lines.append(f"{comment}{name} = {toml(value)}")
        return "\n".join([*lines, *sections]) + "\n"


def load_recipe(name: str | Path, settings: tuple[str, ...] = ()) -> Recipe:
    """A shipped recipe by name or any TOML file; `settings` are "key=value" with dotted keys, values as in TOML."""
    written, given = read_sources(str(name)), [_key_and_value(setting) for setting in settings]
    typed = (Source(name=f"--set {s}", tree=put({}, *pair)) for s, pair in zip(settings, given, strict=True))
    sources, tree = (*written, *typed), merged(written)
    try:
        tree = without_removed(with_settings(tree, given))
        tree["plugins"] = _plugins(tree, written[-1].name)
        return build(Recipe, tree)
    except SettingError as error:
        raise ValueError(f"{place_of(sources, error.settings) or written[-1].name}: {error}") from error


def _plugins(tree: dict[str, Any], where: str) -> dict[str, str]:
    """The plugins that the file records, which must be loaded, and those of this command."""
    recorded = checked(tree.get("plugins", {}), dict[str, str], ("plugins",))
    check_plugins(recorded, where)
    return recorded | given_plugins()


def _key_and_value(setting: str) -> tuple[str, Any]:
    key, found, value = setting.partition("=")
    if not found:
        raise ValueError(f"--set {setting!r}: expected key=value, e.g. train.steps=100")
    return key.strip(), parse(value.strip())
