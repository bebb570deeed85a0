"""The words by which captions name a style, by kind of domain: what `RuleCleaner` looks for.

Entries are regular expressions for whole words, lower case.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    media: tuple[str, ...] = ()
    """Nouns for an image as an object of this kind of domain: "painting" in "a painting of a dog"."""
    frames: tuple[str, ...] = ()
    """Nouns for any image, which go only where they frame the whole caption: "an image of a dog"."""
    styles: tuple[str, ...] = ()
    """Words that qualify an image or a thing: "watercolor" in "a watercolor dog", "night" in "a night photo"."""
    settings: tuple[str, ...] = ()
    """Whole phrases that are said of the scene: "at night"."""
    objects: tuple[str, ...] = ()
    """Names of things that hold one of these words and stay as they are: "drawing board", "night stand"."""

    def with_styles(self, *styles: str) -> "Lexicon":
        """With more words that qualify."""
        return replace(self, styles=(*self.styles, *styles))


ART = Lexicon(
    media=(
        "paintings?",
        "drawings?",
        "sketch(?:es)?",
        "sketch ?books?",
        "illustrations?",
        "depictions?",
        "portrayals?",
        "renderings?",
        "portraits?",
        "cartoons?",
        "comics?",
        "comic (?:books?|strips?|pages?)",
        "caricatures?",
        "doodles?",
        "artworks?",
        "(?:fine )?art ?(?:prints?|works?)",
        "water ?colou?rs?",
        "clip ?arts?",
        "lithographs?",
        "engravings?",
        "mangas?",
        "animes?",
    ),
    frames=("images?", "pictures?", "photos?", "photographs?"),
    styles=(
        "water ?colou?r(?:ed)?",
        "cartoon(?:ish)?",
        "comic(?: book| strip)?",
        "clip ?art",
        "constructivis[mt]",
        "hand ?(?:drawn|painted)",
        "illustrated",
        "anime",
        "manga",
        "line art",
    ),
    objects=(
        "(?:drawing|sketch(?:ing)?|painting) (?:boards?|tables?|desks?|pads?|pins?|tablets?|easels?|stools?)",
        "drawing rooms?",
        "(?:face|body|finger|cave|rock|wall) paintings?",
        "(?:comic(?: book)?s?|manga|anime|cartoon|painting|drawing|sketch(?:ing|book)?|art|water ?colou?rs?) "
        "(?:stores?|shops?|shel(?:f|ves)|racks?|stands?|stalls?|sections?|conventions?|con|museums?|galler(?:y|ies)"
        "|exhibitions?|fairs?|class(?:es|room)?|lessons?|studios?|sets?|kits?|box(?:es)?|cases?|supplies|tools?"
        "|materials|palettes?|trays?|tubes?|tins?|pans?|brush(?:es)?|knives|knife|pencils?|pens?|pads?|apps?|books? "
        "(?:stores?|shops?|shel(?:f|ves)|racks?|stands?|conventions?|collections?)|collections?)",
        "water ?colou?r (?:paints?|papers?|books?)",
        "drawing (?:papers?|books?|compass(?:es)?)",
    ),
)

NIGHT = Lexicon(
    styles=("dark night", "night ?time", "night"),
    settings=(
        "(?:late )?at night(?: ?time)?",
        "(?:by|during the|in the|on a(?: dark)?) night",
        "(?:in|at|under) the dark(?:ness)?",
        "in (?:dark(?:ness)?|low light)",
        "after dark",
    ),
    objects=(
        "night ?(?:stands?|tables?|lights?|lamps?|clubs?|gowns?|dress(?:es)?|shirts?|caps?|owls?|herons?|hawks?"
        "|bus(?:es)?|trains?|markets?|schools?|shifts?|guards?|watch(?:m[ae]n)?|clothes|wear|goggles|vision)",
    ),
)

FOG = Lexicon(
    styles=("foggy", "misty", "hazy"),
    settings=(
        "(?:in|through|under|with|by) (?:the |a )?(?:thick |dense |heavy )?(?:fog|mist|haze)",
        "on a (?:foggy|misty|hazy) day",
    ),
)

RAIN = Lexicon(
    styles=("rainy", "rain-?soaked"),
    settings=(
        "(?:in|through|under|during) (?:the |a )?(?:heavy |light |pouring )?(?:rain(?:storm|fall)?|downpour)",
        "(?:in|on|during) (?:a |the )?rainy (?:days?|weather|evenings?|mornings?)",
    ),
    objects=("rain ?(?:coats?|boots?|bows?|forests?|drops?)",),
)

SNOW = Lexicon(
    styles=("snowy", "snow-?covered"),
    settings=(
        "(?:in|through|under|during) (?:the |a )?(?:heavy |light |deep |falling )?(?:snow(?:storm|fall)?|blizzard)",
        "(?:covered|blanketed) (?:in|with) (?:the )?snow",
        "(?:in|on|during) (?:a |the )?snowy (?:days?|weather|evenings?|mornings?)",
    ),
    objects=("snow ?(?:boards?|boarders?|boarding|m[ae]n|balls?|mobiles?|shoes?|plows?|ploughs?|suits?)",),
)

DASHCAM = Lexicon(
    styles=("dash ?cam(?:era)?", "dashboard(?: camera| cam)"),
    settings=(
        "(?:(?:seen|taken|viewed|shot|filmed|recorded) (?:from|through|by|with|on)|from|through) (?:a |the )?"
        "(?:dash ?cam(?:era)?|dashboard(?: camera| cam)?|car windshield)",
    ),
    objects=("dash ?cam(?:era)? (?:mounts?|screens?|displays?)",),
)

NEON = replace(
    ART.with_styles("neon"),
    objects=(*ART.objects, "neon (?:signs?|lights?|lamps?|tubes?|letters?|billboards?)"),
)

MOSAIC = replace(
    ART,
    media=(*ART.media, "mosaics?"),
    styles=(*ART.styles, "mosaic"),
    objects=(*ART.objects, "mosaic (?:tiles?|floors?|tables?|walls?|stones?)"),
)

SEPIA = Lexicon(styles=("old sepia", "sepia(?: toned?)?"))

ALL = Lexicon(
    media=MOSAIC.media,
    frames=ART.frames,
    styles=(*MOSAIC.styles, "neon", *NIGHT.styles, *FOG.styles, *DASHCAM.styles, *SEPIA.styles),
    settings=NIGHT.settings + FOG.settings + DASHCAM.settings,
    objects=tuple(dict.fromkeys(MOSAIC.objects + NEON.objects + NIGHT.objects + DASHCAM.objects)),
)
"""Every domain's words; for captions of unknown domain. Rain and snow are as often content, and not among them."""

_BEFORE = "at|by|in|on|under|during|through|after|before|around|near"
_BETWEEN = "the|an?|heavy|light|pouring|early|late"
_AFTER = "lights?|hours?|times?|conditions?|weather|days?|evenings?|mornings?|nights?"


def lexicon_of(words: Sequence[str], medium: str) -> Lexicon:
    """Of a domain in words whose images are called `medium`: "dusk" of photos, "pencil" of sketches."""
    name = "[- ]?".join(re.escape(part) for word in words for part in word.split("-"))
    if any(re.fullmatch(art, medium) for art in ART.media):
        return ART.with_styles(name)
    stem = re.sub(r"(?<=[^aeiou])y$", "", name)  # "rainy" -> "rain", but "x-ray"
    style = rf"{stem}(?:{stem[-1]}?y)?s?"
    said = rf"(?:{_BEFORE})(?: (?:{_BETWEEN})){{0,2}} {style}(?: (?:{_AFTER}))?"
    return Lexicon(media=(style,), styles=(style,), settings=(said,), objects=(rf"covered (?:in|by|with) {style}",))
