import random

import pytest

from tadp_captioning.prompts.oracle import precision_recall, sample_oracle

CLASSES = [f"class{i}" for i in range(20)]


@pytest.fixture
def present():
    generator = random.Random(1)
    return {f"image_{i}": generator.sample(CLASSES, generator.randint(0, 5)) for i in range(300)}


@pytest.mark.parametrize("precision", [0.5, 0.75, 1.0])
@pytest.mark.parametrize("recall", [0.0, 0.5, 0.75, 1.0])
def test_the_asked_values_are_hit(present, precision, recall):
    """The paper's grid; counted here by hand."""
    named = sample_oracle(present, CLASSES, precision=precision, recall=recall, seed=3)
    pairs = {(i, name) for i, names in named.items() for name in names}
    truth = {(i, name) for i, names in present.items() for name in names}
    assert len(pairs & truth) / len(truth) == pytest.approx(recall, abs=1 / len(truth))
    if recall:
        assert len(pairs & truth) / len(pairs) == pytest.approx(precision, abs=1 / len(pairs))
    assert precision_recall(named, present).recall == pytest.approx(recall, abs=1 / len(truth))
    assert list(named) == list(present)
    assert all(names == [c for c in CLASSES if c in names] for names in named.values()), "label order"


def test_a_perfect_oracle_names_what_is_there(present):
    named = sample_oracle(present, CLASSES)
    assert {i: set(names) for i, names in named.items()} == {i: set(names) for i, names in present.items()}


def test_the_seed_decides(present):
    one, same, other = (sample_oracle(present, CLASSES, recall=0.5, seed=seed) for seed in (0, 0, 1))
    assert one == same != other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": 0.0}, "expected precision in"),
        ({"recall": 1.5}, "recall in"),
        ({"precision": 0.001}, "ask for a higher precision"),
    ],
)
def test_impossible_values_are_refused(present, arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_oracle(present, CLASSES, **arguments)


def test_unknown_classes_are_refused():
    with pytest.raises(ValueError, match="image 'x': unknown class 'cow'"):
        sample_oracle({"x": ["cow"]}, CLASSES)
