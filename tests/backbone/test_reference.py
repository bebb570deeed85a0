"""A backbone that is saved by reference to a published one: nothing frozen is copied, no other file is taken for it."""

import json
import shutil

import pytest
import torch

from tadp_backbone import DiffusionBackbone, register_backbone
from tadp_backbone.precision import is_small
from tadp_backbone.registry import BackboneEntry

PARTS = {"unet", "vae", "text_encoder"}


@pytest.fixture(scope="module")
def files(make_backbone, tmp_path_factory):
    """A backbone, and its folder, which stays as it is."""
    folder, saved = tmp_path_factory.mktemp("small"), make_backbone(text=True, vae=True)
    saved.save_pretrained(folder)
    return saved, folder


@pytest.fixture
def published(own_registries, files, tmp_path):
    """The folder of a backbone of the table, "small"."""
    saved, folder = files
    shutil.copytree(folder, tmp_path / "published")
    entry = BackboneEntry(config=saved.config, levels=(), folder=tmp_path / "published", version=3)
    register_backbone("small", entry)
    return entry.folder


@pytest.fixture
def backbone(published):
    return DiffusionBackbone.from_pretrained("small").freeze()


def copied(folder):
    return PARTS & {path.name for path in folder.iterdir()}


def assert_same(a, b):
    assert a.config == b.config
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=0)


def test_frozen_parts_are_not_copied(backbone, tmp_path):
    saved = tmp_path / "saved"
    backbone.save_reference(saved)
    assert copied(saved) == set()
    values = json.loads((saved / "reference.json").read_text())
    assert (values["source"], values["revision"]) == ("small", "3")
    assert {name.split("/")[0] for name in values["files"]} == PARTS
    loaded = DiffusionBackbone.from_pretrained(saved)
    assert_same(loaded, backbone)
    assert is_small(saved)
    loaded.freeze().save_reference(tmp_path / "again")
    assert copied(tmp_path / "again") == set()


def test_what_differs_from_the_published_one_is_copied(backbone, tmp_path):
    saved = tmp_path / "saved"
    backbone.unet.requires_grad_(True)
    with torch.no_grad():
        backbone.text_encoder.get_input_embeddings().weight[0] += 1
    backbone.save_reference(saved)
    assert copied(saved) == {"unet", "text_encoder"}
    assert_same(DiffusionBackbone.from_pretrained(saved), backbone)


def test_one_that_was_not_published_is_whole(make_backbone, published, tmp_path):
    make_backbone(text=True, vae=True).freeze().save_reference(tmp_path / "made")
    DiffusionBackbone.from_pretrained(published).freeze().save_reference(tmp_path / "of a folder")
    for name in ("made", "of a folder"):
        assert copied(tmp_path / name) == PARTS
        assert not (tmp_path / name / "reference.json").exists()


def test_either_takes_the_place_of_the_other(backbone, tmp_path):
    saved = tmp_path / "saved"
    for _ in range(2):
        backbone.save_pretrained(saved)
        assert copied(saved) == PARTS
        assert not (saved / "reference.json").exists()
        backbone.save_reference(saved)
        assert copied(saved) == set()
        assert not (saved / "model_index.json").exists()


def test_another_file_is_not_taken_for_it(backbone, published, tmp_path):
    saved = tmp_path / "saved"
    backbone.save_reference(saved)
    with torch.no_grad():
        backbone.vae.quant_conv.weight += 1
    backbone.save_pretrained(published)
    with pytest.raises(ValueError, match=r"saved refers to small \(revision 3\), and .*SHA-256 differs.*--bundle"):
        DiffusionBackbone.from_pretrained(saved)
    (published / "text_encoder" / "config.json").unlink()
    with pytest.raises(ValueError, match=r"refers to small \(revision 3\), and .*text_encoder/config.json is missing"):
        DiffusionBackbone.from_pretrained(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "someone/gone", "repository": "someone/gone"}, r"refers to someone/gone .*not in the cache"),
        ({"source": "../elsewhere"}, "expected a name of the table or a hub id"),
        ({"files": {"../../etc/passwd": "0"}}, "expected source, repository, revision and the files of parts"),
        ({"revision": 3}, "expected source, repository, revision"),
        ({"more": "x"}, "has 'more', which Reference has not"),
    ],
)
def test_a_reference_that_leads_nowhere_is_one_line(tmp_path, change, message):
    reference = {"source": "tiny", "repository": "", "revision": "1", "files": {"unet/config.json": "0"}}
    (tmp_path / "reference.json").write_text(json.dumps(reference | change))
    with pytest.raises(ValueError, match=message) as error:
        DiffusionBackbone.from_pretrained(tmp_path)
    assert "\n" not in str(error.value)
