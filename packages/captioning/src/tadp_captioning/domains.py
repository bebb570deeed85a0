"""The table of target domains, and the modifiers that name a domain in a caption (paper 4.2)."""

import re
from dataclasses import dataclass, field, replace

from tadp_captioning._registry import Registry
from tadp_captioning.cleaning.lexicon import (
    ART,
    DASHCAM,
    FOG,
    MOSAIC,
    NEON,
    NIGHT,
    RAIN,
    SEPIA,
    SNOW,
    Lexicon,
    lexicon_of,
)

MODIFIERS = ("null", "simple", "textual-inversion", "dreambooth", "nearby", "unrelated")


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One domain, and how captions speak of it. Templates hold {caption}, the learned ones also {token}."""

    name: str
    phrase: str
    """The domain in words, as used inside a sentence."""
    simple: str
    """The hand-written modifier."""
    learned: str
    """Textual Inversion and DreamBooth share it (paper 4.2)."""
    nearby: str
    """A control: another domain of the same kind (paper Tables 4 and 5)."""
    unrelated: str
    """A control: a domain of another kind."""
    token: str
    """Name of the token that Textual Inversion learns."""
    initial: tuple[str, ...]
    """Words whose embeddings Textual Inversion starts from."""
    removes: Lexicon
    """What a cleaner takes out of captions of this domain."""
    reference: dict[str, str] = field(default_factory=dict)
    """Modifier -> the literal string of the paper's code (docs/reference.md, section 6), "of a {caption}" included."""


DREAMBOOTH_TOKEN = "sks"

_PAINTING = "a watercolor painting of {caption}"
_CONSTRUCTIVISM = "a constructivism painting of {caption}"
_DASHCAM = "a dashcam photo of {caption}"
_FOGGY = "a foggy photo of {caption}"
_NIGHT = "a dark night photo of {caption}"

_REFERENCE_ART_CONTROLS = {
    "nearby": "a constructivism painting of a {caption}",
    "unrelated": "a dashcam photo of a {caption}",
    "dreambooth": "a sks style painting of a {caption}",
}
_REFERENCE_NIGHT = {
    "simple": "a dark night photo of a {caption}",
    "textual-inversion": "a dark <night> photo of a {caption}",
    "dreambooth": "a dashcam photo of {caption} at sks night",
    "nearby": "a foggy photo of a {caption}",
    "unrelated": "a watercolor painting of a {caption}",
}

_AT_NIGHT = Domain(
    name="night",
    phrase="at night",
    simple=_NIGHT,
    learned="a dark {token} photo of {caption}",
    nearby=_FOGGY,
    unrelated=_PAINTING,
    token="<night>",
    initial=("night",),
    removes=NIGHT,
    reference=_REFERENCE_NIGHT,
)

_FOG = Domain(
    name="foggy",
    phrase="in the fog",
    simple=_FOGGY,
    learned="a {token} photo of {caption}",
    nearby=_NIGHT,
    unrelated=_PAINTING,
    token="<foggy>",
    initial=("foggy",),
    removes=FOG,
)

_TABLE = (
    Domain(
        name="watercolor",
        phrase="watercolor style",
        simple="a watercolor style painting of {caption}",
        learned="a {token} style painting of {caption}",
        nearby=_CONSTRUCTIVISM,
        unrelated=_DASHCAM,
        token="<watercolor>",
        initial=("watercolor",),
        removes=ART,
        reference={
            "simple": "a watercolor painting of a {caption}",
            "textual-inversion": "a <watercolor> style painting of a {caption}",
            **_REFERENCE_ART_CONTROLS,
        },
    ),
    Domain(
        name="comic",
        phrase="comic style",
        simple="a comic style painting of {caption}",
        learned="a {token} style painting of {caption}",
        nearby=_CONSTRUCTIVISM,
        unrelated=_DASHCAM,
        token="<comic>",
        initial=("comic",),
        removes=ART,
        reference={
            "simple": "a comic style painting of a {caption}",
            "textual-inversion": "a <comic> style painting of a {caption}",
            **_REFERENCE_ART_CONTROLS,
        },
    ),
    Domain(
        name="clipart",
        phrase="clipart style",
        simple="a clipart style drawing of {caption}",
        learned="a {token} style drawing of {caption}",
        nearby=_CONSTRUCTIVISM,
        unrelated=_DASHCAM,
        token="<clipart>",
        initial=("clipart",),
        removes=ART,
    ),
    Domain(
        name="constructivism",
        phrase="constructivism style",
        simple=_CONSTRUCTIVISM,
        learned="a {token} style painting of {caption}",
        nearby=_PAINTING,
        unrelated=_DASHCAM,
        token="<constructivism>",
        initial=("constructivism",),
        removes=ART,
    ),
    _AT_NIGHT,
    replace(_AT_NIGHT, name="dark-zurich"),
    _FOG,
    replace(_FOG, name="fog", token="<fog>", initial=("fog",)),  # as ACDC calls it
    Domain(
        name="rain",
        phrase="in the rain",
        simple="a rainy photo of {caption}",
        learned="a {token} photo of {caption}",
        nearby=_FOGGY,
        unrelated=_PAINTING,
        token="<rain>",
        initial=("rain",),
        removes=RAIN,
    ),
    Domain(
        name="snow",
        phrase="in the snow",
        simple="a snowy photo of {caption}",
        learned="a {token} photo of {caption}",
        nearby=_FOGGY,
        unrelated=_PAINTING,
        token="<snow>",
        initial=("snow",),
        removes=SNOW,
    ),
    Domain(
        name="dashcam",
        phrase="seen by a dashcam",
        simple=_DASHCAM,
        learned="a {token} photo of {caption}",
        nearby=_FOGGY,
        unrelated=_PAINTING,
        token="<dashcam>",
        initial=("dashcam",),
        removes=DASHCAM,
    ),
    Domain(
        name="sketch",
        phrase="sketch style",
        simple="a sketch style drawing of {caption}",
        learned="a {token} style drawing of {caption}",
        nearby=_CONSTRUCTIVISM,
        unrelated=_DASHCAM,
        token="<sketch>",
        initial=("sketch",),
        removes=ART.with_styles("sketch"),
    ),
    Domain(
        name="neon",
        phrase="neon style",
        simple="a neon style drawing of {caption}",
        learned="a {token} style drawing of {caption}",
        nearby=_CONSTRUCTIVISM,
        unrelated=_DASHCAM,
        token="<neon>",
        initial=("neon",),
        removes=NEON,
    ),
    Domain(
        name="mosaic",
        phrase="mosaic style",
        simple="a mosaic style picture of {caption}",
        learned="a {token} style picture of {caption}",
        nearby=_CONSTRUCTIVISM,
        unrelated=_DASHCAM,
        token="<mosaic>",
        initial=("mosaic",),
        removes=MOSAIC,
    ),
    Domain(
        name="sepia",
        phrase="in sepia",
        simple="a sepia photo of {caption}",
        learned="a {token} photo of {caption}",
        nearby=_NIGHT,
        unrelated=_PAINTING,
        token="<sepia>",
        initial=("sepia",),
        removes=SEPIA,
    ),
)
DOMAINS = Registry("domain", {domain.name: domain for domain in _TABLE})


def register_domain(domain: Domain) -> Domain:
    """Make a domain known by its name, to prompts, cleaners and `tadp personalize`; ValueError for a taken name."""
    DOMAINS.add(domain.name, domain)
    return domain


def get_domain(name: str | Domain, phrase: str = "") -> Domain:
    """A domain of the table by its name, or with `phrase`, the words for its images, one of any other name.

    ValueError for an unknown name without a phrase.
    """
    if isinstance(name, Domain):
        return name
    if phrase:
        if name in DOMAINS:
            raise ValueError(f"domain {name!r} is in the table: leave its phrase {phrase!r} out, or name it otherwise")
        return domain_from_phrase(phrase, name)
    if name not in DOMAINS:
        raise ValueError(
            f"unknown domain {name!r}; choose from {', '.join(DOMAINS)}, or say with --domain-phrase what its images "
            f"are called, e.g. '{name} photo'"
        )
    return DOMAINS[name]


_LITTLE_WORDS = frozenset(["a", "an", "the", "in", "at", "on", "of", "by", "with", "under", "during", "from"])


def domain_from_phrase(phrase: str, name: str = "") -> Domain:
    """A domain that is not in the table, from the words for its images, e.g. "pencil sketch" or "dusk photo".

    `name` gives the token its name; "" for the phrase with hyphens. ValueError for a phrase without words, or with
    words such as "of".
    """
    words = phrase.lower().split()
    if not words:
        raise ValueError("a domain phrase needs at least one word, e.g. 'pencil sketch'")
    little = next((word for word in words if word in _LITTLE_WORDS), None)
    if little is not None:
        raise ValueError(
            f"domain phrase {phrase!r} has the word {little!r}: expected the style, then the medium, e.g. "
            "'rain photo' for photos in the rain"
        )
    article = "an" if re.match(r"[aeiou]|x\b", words[0]) else "a"
    style, medium = words[:-1], words[-1]
    name = name or "-".join(words)
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"domain {name!r}: expected a name of letters, digits, '-', '_' and '.', e.g. dusk")
    return Domain(
        name=name,
        phrase=" ".join(words),
        simple=f"{article} {' '.join(words)} of {{caption}}",
        learned=f"a {{token}} {medium} of {{caption}}",
        nearby=_CONSTRUCTIVISM,
        unrelated=_DASHCAM,
        token=f"<{name}>",
        initial=tuple(style or words),
        removes=lexicon_of(style or words, medium),
    )


def modify(
    caption: str,
    domain: str | Domain,
    modifier: str,
    *,
    token: str | None = None,
    style: str = "grammatical",
) -> str:
    """Name a domain in a caption; "null" returns the caption unchanged.

    `token` is the learned token's name where it isn't the domain's own ("<watercolor>", for DreamBooth "sks"). `style`
    "grammatical" fits the caption into the sentence; "reference" gives the literal strings of the paper's code,
    "of a a dog" included (docs/reference.md, section 6). ValueError for an unknown domain, modifier or style.
    """
    domain = get_domain(domain)
    if modifier not in MODIFIERS:
        raise ValueError(f"unknown modifier {modifier!r}; choose from {', '.join(MODIFIERS)}")
    if modifier == "null":
        return caption
    if style == "reference":
        return _reference(caption, domain, modifier)
    if style != "grammatical":
        raise ValueError(f"unknown style of modifier {style!r}; choose from grammatical, reference")
    return _fill(_template(domain, modifier, token), caption)


def _reference(caption: str, domain: Domain, modifier: str) -> str:
    if modifier not in domain.reference:
        raise ValueError(f"the paper's code has no string for modifier {modifier!r} of domain {domain.name!r}")
    return domain.reference[modifier].replace("{caption}", caption)


def _template(domain: Domain, modifier: str, token: str | None) -> str:
    if modifier in ("textual-inversion", "dreambooth"):
        default = domain.token if modifier == "textual-inversion" else DREAMBOOTH_TOKEN
        return domain.learned.replace("{token}", token or default)
    return {"simple": domain.simple, "nearby": domain.nearby, "unrelated": domain.unrelated}[modifier]


# The template names a medium already: "a watercolor style painting of a photo of a dog" would name two.
_OWN_MEDIUM = re.compile(
    r"^(?:this is )?(?:an?|the|this) (?:close ?up )?(?:photo|photograph|picture|image)"
    r"(?: of| shows| showing| depicts| depicting| features| featuring) (?=\S)",
    re.IGNORECASE,
)
_CAPITALISED = re.compile(r"^(?:An?|The|Two|Three|Four|Five|Six|Several|Some|Many|There|People)\b")


def _fill(template: str, caption: str) -> str:
    """The caption inside the template's sentence; an empty caption leaves the template's own words."""
    text = content_of(caption)
    return template.replace("{caption}", text) if text else template.replace(" of {caption}", "")


def content_of(caption: str) -> str:
    """A caption as it stands inside another sentence: no list dash, no medium of its own, no capital, no full stop."""
    text = re.sub(r"^\s*-\s+", "", caption).strip()
    text = _OWN_MEDIUM.sub("", text)
    text = re.sub(r"^there (?:is|are) (?=\S)", "", text, flags=re.IGNORECASE)
    if _CAPITALISED.match(text):
        text = text[0].lower() + text[1:]
    return re.sub(r"(?<=\w)\.$", "", text)
