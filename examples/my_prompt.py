"""A kind of prompt of one's own: the classes that each caption names, in the words of the data set.

tadp train scenes-segmentation --data data/photo --plugin my_prompt.py --set prompt.kind=named-classes --out runs/named
tadp predict runs/named photos/ --plugin my_prompt.py --out predictions
"""

from tadp_captioning.mentions.words import ClassMentions
from tadp_cli.prompts import PromptKind, register_prompt


@register_prompt("named-classes")
class NamedClasses(PromptKind):
    """ "two stars and a red tree on sand" -> "tree star"; plurals and synonyms count."""

    needs = frozenset({"captions", "classes"})

    def texts(self, given) -> dict[str, str]:
        mentions = ClassMentions(self.names)
        return {image_id: " ".join(mentions(given.captions[image_id])) for image_id in given.ids}
