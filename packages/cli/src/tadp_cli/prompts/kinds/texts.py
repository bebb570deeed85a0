"""Prompts of words: captions, class names, an oracle's names, nothing."""

from collections.abc import Mapping, Sequence

from tadp_cli.prompts.kind import Given, PromptKind


class Caption(PromptKind):
    """Each image's caption."""

    needs = frozenset({"captions"})
    in_template = True

    def texts(self, given: Given) -> Mapping[str, str]:
        return given.captions


class Nouns(Caption):
    """The nouns of each caption, each once, in order (TADP(NO))."""

    in_template = False

    def texts(self, given: Given) -> Mapping[str, str]:
        from tadp_captioning.prompts.nouns import load_tagger, nouns_prompt

        tagger = load_tagger()
        return {image_id: nouns_prompt(given.captions[image_id], tagger) for image_id in given.ids}

    @property
    def summary(self) -> str:
        return f"nouns of {super().summary}"

    @classmethod
    def missing(cls) -> str:
        from tadp_captioning.prompts.nouns import nltk_tagger

        try:
            nltk_tagger()
        except ValueError as error:
            return str(error)
        return ""


class CaptionAndClassNames(PromptKind):
    """The caption, and behind it all class names."""

    needs = frozenset({"captions", "classes"})
    in_template = True

    def texts(self, given: Given) -> Mapping[str, str]:
        return {image_id: joined(given.captions[image_id], self.names) for image_id in given.ids}

    @property
    def template(self) -> str:
        return joined("{caption}", self.names)


class Empty(PromptKind):
    """No words."""

    own_texts = False
    in_template = True

    def texts(self, given: Given) -> Mapping[str, str]:
        return dict.fromkeys(given.ids, self.template)

    @property
    def template(self) -> str:
        return ""


class ClassNames(Empty):
    """The names of all classes, the same text for every image."""

    needs = frozenset({"classes"})
    lists_classes = True

    @property
    def template(self) -> str:
        from tadp_captioning import class_names_prompt

        return class_names_prompt(self.names)

    @property
    def summary(self) -> str:
        return super().summary if self.names else "names of all classes"


class Oracle(PromptKind):
    """The names of the classes annotated in each image, or a sample of them with a given precision and recall."""

    needs = frozenset({"classes"})
    lists_classes = True
    sampled = True
    in_template = True

    def texts(self, given: Given) -> Mapping[str, str]:
        """Of loose images, which have no annotation, the caption replaces the names."""
        from tadp_captioning import class_names_prompt
        from tadp_cli.prompts.builder import oracle_names
        from tadp_heads.data.present_classes import annotated_names

        if given.dataset is None:
            return given.captions
        present = annotated_names(given.dataset)
        precision, recall = self.config.precision, self.config.recall
        drawn = oracle_names(present, given.dataset.prompt_names, precision=precision, recall=recall)
        return {image_id: class_names_prompt(there) for image_id, there in drawn.items()}

    @property
    def summary(self) -> str:
        return "names of the classes present"


def joined(caption: str, names: Sequence[str]) -> str:
    """The caption, and behind it the names."""
    return ", ".join((caption, " ".join(names))) if names else caption
