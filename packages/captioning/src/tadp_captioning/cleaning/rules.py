"""The patterns of `RuleCleaner`: from the words of a lexicon to steps that rewrite a caption.

A medium and what joins it to its content go, and the content stays: "a sketchbook with a map" -> "a map". A medium or a
style that qualifies what is depicted goes: "a cartoon cat" -> "a cat". A medium that is itself an object of the scene
stays: in a place ("a cartoon on the tv screen"), held or seen ("a woman holding a painting"), or in the name of another
object ("a drawing board").
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tadp_captioning.cleaning.lexicon import Lexicon

_COUNT = (
    r"(?:(?:an?|the|this|one|two|three|four|five|six|seven|eight|several|some|many|various|different|multiple"
    r"|an? (?:set|series|collection|group|couple|pair|bunch) of) )*"
)
# Words that stand between an article and a medium and go with it: "a black and white pencil drawing".
_MANNER = (
    r"(?:black and white|colou?rful|colou?red|pencil|pen(?: and ink)?|ink|oil|acrylic|charcoal|crayon|pastel|gouache"
    r"|digital|line|fashion|abstract|realistic|beautiful|simple|old|vintage|small|large|little|original|detailed|self"
    r"|hand ?drawn|hand ?painted|art(?:istic|ist)?|stylized|animated|modern|political)"
)
_PARTS = r"(?:pages?|panels?|strips?|covers?|magazines?|scenes?|art)"
_SHOWS = (
    r"(?:(?: style| effect)?,? (?:of|about|(?:that )?(?:show(?:s|ing)|depict(?:s|ing)|featur(?:es|ing)"
    r"|represent(?:s|ing)|illustrat(?:es|ing)|portray(?:s|ing))))"
)
_JOINS = rf"(?:{_SHOWS}|(?: style| effect)?,? with)"
_CAPTION = r"(?:^|- |^\d+\. )$"
_CLAUSE = r"(?:^|- |^\d+\. |, |\band )$"
_DONE = r"(?:shown|painted|drawn|depicted|rendered|done|made|illustrated|created)"
_AFTER_MEDIUM = r"(?: (?:style|effect|technique|form|paints?|paper|medium|design|background|canvas))*"
_CLAUSE_END = r"(?=$|[,.;]| -| by\b)"
_NOUNS_IN_ING = r"(?:be|build|ceil|cloth|duckl|earr|even|herr|k|morn|pudd|r|rail|starl|str|sw|th|vik|w|wedd)ings?\b"
_LITTLE_WORD = (
    r"of|with|without|on|in|at|to|from|by|for|near|above|below|under|over|behind|beside|inside|outside|around|next"
    r"|about|against|across|along|through|and|or|but|as|that|which|who|while|is|are|was|were|has|have|titled"
)
# What can follow a noun phrase and is no noun for it to qualify.
_FUNCTION = (
    rf"(?:{_LITTLE_WORD}|an?|the|his|her|their|its|this|shows|hangs|hung|sits|stands|says|looks|placed|displayed|pinned"
    rf"|taped|attached|mounted|framed|called|named|{_DONE}|(?!{_NOUNS_IN_ING})\w+ing)\b"
)
_QUALIFIED = rf"(?=(?!{_FUNCTION})[\w\uE000])"
# A medium after these is an object of the scene, or all that an adjective has to qualify.
_OBJECT_AFTER = (
    rf"(?:^(?:{_MANNER}|[\W\d])*|\b{_FUNCTION}|\b{_COUNT.removesuffix('*')}|(?:ical|ional|oral|[^f]ish|ese|ous|ful)"
    r"|\b(?:hold(?:s|ing)|carry(?:ing)|carries|reads?|reading|look(?:s|ing) at|watch(?:es|ing)|front of|next to|beside"
    r"|near|behind) (?:an?|the|his|her|their) (?:\w+ ?){,2})$"
)
_MAKING = (
    r"(?:artist|man|woman|boy|girl|child|person|men|women|boys|girls|children|people|kids?|couple|is|are|was|were|while"
    r"|busy|on) (?:painting|drawing|sketching)\b"
)
_DANGLING = re.compile(r"(?:[\s,]+(?:and|of|with|by|in|on|as|at|for|from|an?|the|that|is|are|-))+$", re.IGNORECASE)
_NO_NOUN = re.compile(rf"\b(?:an?|the) (?:{_LITTLE_WORD})\b|^(?:\d+\. )?(?:about|with|by|on|titled)\b", re.IGNORECASE)
_LITTLE = re.compile(
    r"\b(?:an?|the|of|in|on|by|and|with|this|is|style|one|two|three|four|several|set|series)\b|[^\w]", re.IGNORECASE
)
_BEFORE = 200
"""Characters before a match that decide about it: a caption may be a text of any length."""
_MOST_PASSES = 20
# Content that no step may touch, kept under its number between two characters that no caption has.
_HIDDEN = re.compile(r"\uE000(\d+)\uE001")


class _Step(NamedTuple):
    """What goes, where the text before it matches `after` and does not match `unless_after`."""

    what: re.Pattern[str]
    after: re.Pattern[str] | None = None
    unless_after: re.Pattern[str] | None = None

    def apply(self, text: str) -> str:
        def replaced(match: re.Match[str]) -> str:
            end = match.start()
            before = (max(0, end - _BEFORE), end)  # of a search, so that ^ is the caption's beginning alone
            fits = self.after is None or self.after.search(text, *before)
            return (
                "" if fits and not (self.unless_after and self.unless_after.search(text, *before)) else match.group(0)
            )

        return self.what.sub(replaced, text)


class Rules:
    """What to look for and what to rewrite, for one lexicon."""

    def __init__(self, lexicon: Lexicon):
        self._style_word = _compile(_style_word(lexicon))
        self._names = _compile(rf"\"[^\"]*(?:\"|$)|\b{_any(lexicon.objects)}\b")
        self._content = _compile(rf"{self._names.pattern}|\b{_MAKING}")
        self._framed, *self._steps = _steps(lexicon)

    def style_words(self, caption: str) -> set[str]:
        """The style words in a caption, in lower case, those in quotes and in names of objects left out."""
        words = self._style_word.finditer(self._names.sub("\ue000", caption))
        return {match.group(0).lower() for match in words}

    def apply(self, caption: str) -> str:
        """The caption without the lexicon's words; unchanged where no sentence would be left."""
        hidden: list[str] = []

        def hide(match: re.Match[str]) -> str:
            hidden.append(match.group(0))
            return f"\ue000{len(hidden) - 1}\ue001"

        text = self._content.sub(hide, caption)
        # "a drawing of a boy and a drawing of a girl": where the first is the caption's medium, so is the second.
        if self._framed.apply(text) != text:
            text = self._framed._replace(after=_compile(_CLAUSE)).apply(text)
        before = ""
        for _ in range(_MOST_PASSES):  # what follows a medium may be a medium: "a sketchbook with drawings of people"
            if text == before:
                break
            before = text
            for step in (self._framed, *self._steps):
                text = step.apply(text)
        text = _HIDDEN.sub(lambda match: hidden[int(match.group(1))], text)
        text = _tidied(text, caption)
        return text if self._says_something(text) and not _NO_NOUN.search(text) else caption

    def _says_something(self, text: str) -> bool:
        """More than style words, articles and numbers of things."""
        return bool(_LITTLE.sub("", self._style_word.sub("", text)))


def _style_word(lexicon: Lexicon) -> str:
    """Media, styles and settings count anywhere; a frame only where it frames something ("an image of ...")."""
    words = _any((*lexicon.media, *lexicon.styles, *lexicon.settings))
    return rf"\b{words}\b|\b{_any(lexicon.frames)}(?= (?:of|showing|depicting)\b)"


def _steps(lexicon: Lexicon) -> Iterable[_Step]:
    """What goes, in order."""
    media, styles, frames = _any(lexicon.media), _any(lexicon.styles), _any(lexicon.frames)
    # At most so many: without a bound, the cost of a word that is repeated grows with the cube of its number.
    qualifiers = rf"(?:(?:{styles}|{_MANNER})(?: style)?,? (?:and )?){{,8}}"
    medium = rf"(?:{media}(?: {_PARTS}){{,4}}|(?:{styles} ){{1,4}}(?:{frames}|{_PARTS}))"
    phrase = rf"{_COUNT}{qualifiers}{medium}(?: {frames})?"
    framed = rf"{_COUNT}{qualifiers}{frames}{_SHOWS}"
    if lexicon.media:
        # "a page from a comic book, showing a dog" -> "a dog"; "this is a painting of a dog" -> "a dog"
        part = rf"(?:{_COUNT}{qualifiers}{_PARTS} (?:(?:from|of|in)|with(?= {phrase}{_SHOWS})) )?"
        framed = rf"(?:{part}{phrase}{_JOINS}|{framed})"
    said = rf"(?:(?:this|it|here|{_COUNT}{frames}) is |there (?:is|are) )?"
    yield _Step(_compile(rf"\b{said}{framed} (?=[\w\uE000])"), after=_compile(_CAPTION))
    if lexicon.media:
        # "a face shown in a watercolor effect" -> "a face"
        done = rf"(?:(?:,? (?:is|are|was|being))?,? {_DONE} (?:in|as|with|on|by|using|like|for)|(?: (?:is|are|was))? in"
        shown_in = rf"{done}|(?<!dressed) as)(?: an?| the)? {qualifiers}(?:{medium}|{styles}){_AFTER_MEDIUM}"
        yield _Step(_compile(rf"(?:{shown_in}| (?:with|using) {styles}){_CLAUSE_END}"))
    # "a street at night" -> "a street"; but "a man in dark clothes"
    yield _Step(_compile(rf",? {_any(lexicon.settings)}(?=$|[,.;]| -| {_FUNCTION})"))
    objects = "(?!)"
    if lexicon.media:
        # "a hummingbird watercolor painting" -> "a hummingbird"; but "a woman holding a bird painting"
        yield _Step(_compile(rf" {qualifiers}{medium}{_CLAUSE_END}"), unless_after=_compile(_OBJECT_AFTER))
        objects = rf"{qualifiers}{medium}(?=$|[,.;]| -| {_FUNCTION})"
    # "a watercolor dog" -> "a dog"; but "a woman holding a watercolor painting"
    yield _Step(_compile(rf"\b(?!{objects})(?:dark )?(?:{styles}|{media})(?: style)? {_QUALIFIED}"))


def _any(patterns: Sequence[str]) -> str:
    """Alternatives, longest first, so that "comic strip" is tried before "comic"; of none, what never matches."""
    return "(?:" + "|".join(sorted(patterns, key=len, reverse=True)) + ")" if patterns else r"(?!)"


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _tidied(text: str, original: str) -> str:
    """After words went: spaces, loose ends, and "a" or "an" as the next word now needs."""
    text = _DANGLING.sub("", re.sub(r"\s+", " ", text).strip(" ,-"))
    own = {match.lower() for match in re.findall(r"\ban? \w+", original, re.IGNORECASE)}

    def article(match: re.Match[str]) -> str:
        if match.group(0).lower() in own:  # the captioner's own choice, such as "a unicorn"
            return match.group(0)
        return f"{match.group(1)}{'n' if match.group(2)[0].lower() in 'aeiou' else ''} {match.group(2)}"

    return re.sub(r"\b(a)n? (\w+)", article, text, flags=re.IGNORECASE)
