import pytest

from tadp_captioning.mentions.words import ClassMentions, class_words


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("person", "a man and a woman"),
        ("Person", "a man and a woman"),
        ("traffic_light", "a stoplight"),
        ("Traffic Light", "a stoplight"),
        ("traffic-light", "two traffic lights"),
        ("dining table", "a table with plates"),
        ("screen (CRT)", "a screen (CRT) on a desk"),
        ("c++", "a c++ logo"),
        ("tomato", "three tomatoes"),
        ("mango", "two mangos"),
        ("wolf", "two wolves"),
        ("scarf", "two scarves"),
        ("roof", "red roofs"),
        ("knife", "knives and forks"),
        ("猫", "一只猫在桌子上"),
        ("Bäume", "zwei Bäume"),
    ],
)
def test_a_class_is_found_whatever_variant_its_name_is_written_in(name, caption):
    assert ClassMentions([name])(caption) == [name]


@pytest.mark.parametrize(("name", "caption"), [("car", "a scarf and a cart"), ("cat", "a catalogue")])
def test_parts_of_words_are_no_mention(name, caption):
    assert ClassMentions([name])(caption) == []


def test_synonyms_of_the_caller_go_by_his_own_names():
    assert ClassMentions(["Cat"], {"Cat": ["tiger"]})("a tiger") == ["Cat"]
    assert class_words("Wolf", ()) == ["Wolves", "Wolfs", "Wolf"]
