import pytest

from tadp_captioning import class_names_prompt, oracle_prompt

CLASSES = ("background", "circle", "star", "tree")


def test_class_names_and_oracle():
    assert class_names_prompt(CLASSES) == "background circle star tree"
    assert oracle_prompt({"tree", "circle"}, CLASSES) == "circle tree"
    assert oracle_prompt([], CLASSES) == ""
    assert oracle_prompt(CLASSES, CLASSES) == class_names_prompt(CLASSES)


def test_an_unknown_class_is_refused():
    with pytest.raises(ValueError, match="unknown class 'cow'; expected names among: background, circle"):
        oracle_prompt(["tree", "cow"], CLASSES)
