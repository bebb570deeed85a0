"""The patterns of `RuleCleaner`: from the words of a lexicon to steps that rewrite a caption."""

import re
from collections.abc import Iterable, Sequence

from tadp_captioning.lexicon import Lexicon

_COUNT = (
    r"(?:an?|the|this|one|two|three|four|five|six|seven|eight|several|some|many|various|different|multiple"
    r"|an? (?:set|series|collection|group|couple|pair|bunch) of)"
)
# Words that stand between an article and a medium and go with it: "a black and white pencil drawing".
_MANNER = (
    r"(?:black and white|colou?rful|colou?red|pencil|pen(?: and ink)?|ink|oil|acrylic|charcoal|crayon|pastel"
    r"|digital|line|fashion|abstract|realistic|beautiful|simple|old|vintage|small|large|little|original|detailed"
    r"|hand ?drawn|hand ?painted|art(?:istic|ist)?|stylized|animated|modern)"
)
_SHOWS = (
    r"(?:(?: style| effect)?,? (?:of|showing|shows|depicting|depicts|featuring|features|representing"
    r"|with (?:the )?(?:image|picture) of))"
)
_DONE_IN = (
    r"(?:(?:,? (?:is|are|was|being))?,? (?:shown|painted|drawn|depicted|rendered|done|made|illustrated|created))?"
    r" (?:in|as|with|on|by|using|like|for)(?: an?| the)?"
)
_AFTER_MEDIUM = r"(?: (?:style|effect|technique|form|paints?|paper|medium|design|background|canvas))*"
# "a person painting a bird": what somebody does is content.
_VERB_USE = r"(?:painting|drawing|sketching) (?:an?|the|on|her|his|their|with|in an?|in the)\b"
_CLAUSE_END = r"(?=$|[,.]| -| by\b| on (?:a|the) wall)"
_DANGLING = re.compile(r"(?:[\s,]+(?:and|of|with|by|in|on|as|at|for|from|an?|the|that|is|are|-))+$", re.IGNORECASE)
_LITTLE = re.compile(
    r"\b(?:an?|the|of|in|on|by|and|with|this|is|style|one|two|three|four|several|set|series)\b|[^\w]", re.IGNORECASE
)


class Rules:
    """What to look for and what to rewrite, for one lexicon."""

    def __init__(self, lexicon: Lexicon):
        self.style_word = _compile(_style_word(lexicon))
        self._steps = [_compile(pattern) for pattern in _steps(lexicon)]

    def apply(self, caption: str) -> str:
        """The caption without the lexicon's words; unchanged where nothing else would be left."""
        text = caption
        for step in self._steps:
            text = step.sub("", text)
        text = _mend(text, caption)
        return text if self._says_something(text) else caption

    def _says_something(self, text: str) -> bool:
        """More than style words, articles and numbers of things."""
        return bool(_LITTLE.sub("", self.style_word.sub("", text)))


def _style_word(lexicon: Lexicon) -> str:
    """Media, looks and settings count anywhere; a frame only where it frames something ("an image of ...")."""
    words = _any((*lexicon.media, *lexicon.looks, *lexicon.settings))
    return rf"\b{words}\b|\b{_any(lexicon.frames)}(?= (?:of|showing|depicting)\b)"


def _steps(lexicon: Lexicon) -> Iterable[str]:
    """Patterns of what goes, in order."""
    media, looks, frames = _any(lexicon.media), _any(lexicon.looks), _any(lexicon.frames)
    qualifiers = rf"(?:(?:{looks}|{_MANNER})(?: style)?,? )*"
    count = rf"(?:{_COUNT} )*"
    # "a watercolor painting of a dog" -> "a dog"; "a sketchbook with drawings of people" -> "people"
    yield rf"\b(?:{count}{qualifiers}{media} with )?{count}{qualifiers}{media}{_SHOWS} (?=\w)"
    yield rf"^{count}{qualifiers}{frames}{_SHOWS} (?=\w)"
    if lexicon.media:
        yield rf"\b{count}(?:{looks} )+{frames}{_SHOWS} (?=\w)"
        # "a face shown in a watercolor effect" -> "a face"
        yield rf"{_DONE_IN} {qualifiers}(?:{media}|{looks}(?: {frames})?){_AFTER_MEDIUM}{_CLAUSE_END}"
    # "a street at night" -> "a street"
    yield rf",? {_any(lexicon.settings)}(?=$|[,.]|\s)"
    # "a watercolor dog" -> "a dog"; "a dark night photo" -> "a photo"
    yield rf"\b(?:dark )?{looks}(?: style)? (?=\w)"
    # "a room with a chair and a painting" -> "a room with a chair"
    yield rf"(?: (?:with|and|of|in|at|near|beside|by|on))?(?: {_COUNT})* {qualifiers}{media}{_CLAUSE_END}"
    yield rf"\b{qualifiers}(?!{_VERB_USE}){media}\b{_AFTER_MEDIUM} ?"


def _any(patterns: Sequence[str]) -> str:
    """Alternatives, longest first, so that "comic strip" is tried before "comic"; of none, what never matches."""
    return "(?:" + "|".join(sorted(patterns, key=len, reverse=True)) + ")" if patterns else r"(?!)"


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _mend(text: str, original: str) -> str:
    """After words went: spaces, loose ends, and "a" or "an" as the next word now needs."""
    text = _DANGLING.sub("", re.sub(r"\s+", " ", text).strip(" ,-"))
    own = {match.lower() for match in re.findall(r"\ban? \w+", original, re.IGNORECASE)}

    def article(match: re.Match[str]) -> str:
        if match.group(0).lower() in own:  # the captioner's own choice, such as "a unicorn"
            return match.group(0)
        return f"{match.group(1)}{'n' if match.group(2)[0].lower() in 'aeiou' else ''} {match.group(2)}"

    return re.sub(r"\b(a)n? (\w+)", article, text, flags=re.IGNORECASE)
