"""One table of licences, which has every part that can be fetched or read by name."""

import pytest
from invoking import tadp

from tadp_backbone import BACKBONES
from tadp_backbone.io.licences import LICENCES, licence_of, licence_table
from tadp_captioning.registry import CAPTIONERS
from tadp_heads.data.known import DATASETS


def test_every_name_of_the_tables_has_a_licence(own_registries):
    from tadp_backbone import registry

    known = [*registry._BUILT_IN, registry.TAESD]
    known += [name for name, spec in CAPTIONERS.items() if spec.factory is None]
    known += [name for name, entry in DATASETS.items() if "readers" in repr(entry.open) or name in LICENCES]
    assert set(known) <= LICENCES.keys()


@pytest.mark.parametrize("name", LICENCES)
def test_a_licence_says_where_it_is_stated_or_that_it_was_not_checked(name):
    licence = LICENCES[name]
    assert licence.name
    assert licence.source
    assert ("[not verified]" in str(licence)) != licence.verified


def test_a_repository_of_the_table_has_the_licence_of_its_name():
    for source in BACKBONES["sd15"].sources:
        assert licence_of(source.repository) == LICENCES["sd15"]
    assert licence_of("somebody/something").key == "other"
    assert "[not verified]" in str(licence_of("somebody/something"))


def test_the_page_is_the_table(repository):
    """`tadp_backbone.io.licences.licence_table()` gives it."""
    assert licence_table() in (repository / "docs" / "licences.md").read_text(encoding="utf-8")


def test_fetch_shows_the_licence():
    assert "tiny, licence: Apache-2.0 (model card in the package)" in tadp("fetch", "tiny", "--offline")
