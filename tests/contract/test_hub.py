"""Push and pull with the hub's own client, against a server on this machine: what arrives is what was sent."""

from pathlib import Path

import huggingface_hub
import pytest
import yaml
from invoking import tadp
from packed import image_bytes
from PIL import Image

from tadp_backbone import DiffusionBackbone
from tadp_captioning import CaptionRecord, CaptionStore
from tadp_cli.config.paths import with_absolute_paths
from tadp_cli.config.recipe import load_recipe
from tadp_heads import PerceptionModel
from tadp_heads.hub.repository import is_repository, local_folder, upload_folder
from tadp_heads.hub.run import LEFT_OUT
from tadp_heads.segmentation import FPNHead
from tadp_personalize import load_token

# The client's own, in its code for hubs without Xet.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
COPIES = ("heads/hub/repository", "personalize/hub/repository", "captioning/hub/repository")


def metadata(card: str) -> dict:
    """The card's YAML, which the hub's own class reads too."""
    read = yaml.safe_load(card.split("---\n")[1])
    assert huggingface_hub.ModelCard(card, ignore_metadata_errors=False).data.to_dict().keys() <= read.keys()
    return read


def sent(folder, left_out=LEFT_OUT):
    """{path: content} of the files that a push of the folder sends."""
    hidden = tuple(name.rstrip("*") for name in left_out)
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {
        path.as_posix(): (folder / path).read_bytes()
        for path in paths
        if not path.as_posix().startswith(hidden) and not any(part.startswith(".") for part in path.parts)
    }


@pytest.mark.parametrize("copy", COPIES)
def test_packages_have_the_same_module_for_repositories(repository, copy):
    package, _, module = copy.partition("/")
    own = (repository / f"packages/{package}/src/tadp_{package}/{module}.py").read_text()
    assert own == (repository / "packages/backbone/src/tadp_backbone/io/repository.py").read_text()


def test_packages_have_the_same_module_for_trackers(repository):
    modules = ("heads/src/tadp_heads/training/tracking", "personalize/src/tadp_personalize/training")
    first, second = ((repository / "packages" / module / "trackers.py").read_text() for module in modules)
    assert first == second


NAMES = ("me/first", "me/first-1.0")
PATHS = ("runs/first", "./me/first", "me/a/b", "first", "/me/first", "me/token.safetensors", "me/with space")


@pytest.mark.parametrize(("source", "is_one"), [*((name, True) for name in NAMES), *((path, False) for path in PATHS)])
def test_what_names_a_repository(tmp_path, monkeypatch, source, is_one):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert is_repository(source) == is_one
    if not is_one:
        assert str(local_folder(source)) == source.removeprefix("./")
        with pytest.raises(ValueError, match="goes with a repository owner/name"):
            local_folder(source, revision="v1")


def test_a_run_arrives_as_it_was_sent_after_an_upload_that_was_cut(hub, first_layout, tmp_path):
    run = first_layout / "run"
    hub.cut_after = 2
    output = tadp("push", run, "me/first", "--private", code=1)
    assert "me/first: the upload failed" in output
    assert "run the same again" in output
    assert hub.uploads == 2, output
    assert hub.files("me/first") == {}
    hub.cut_after = None
    image = first_layout / "photos" / "images" / "val_00004.png"
    tadp("push", run, "me/first", "--private", "--sample", image, "--caption", "a circle")
    assert hub.private["model", "me/first"]
    files = sent(run)
    assert hub.files("me/first") == files
    assert "sample.png" in files
    assert "state/step_00000002.pt" not in files
    large = {content for content in files.values() if len(content) >= 1000}
    assert hub.uploads <= len(large) + 1, "what had arrived is not sent again; the card is another one"
    pulled = local_folder("me/first")
    assert {path.relative_to(pulled).as_posix(): path.read_bytes() for path in pulled.rglob("*") if path.is_file()} == (
        files
    )
    with Image.open(image) as file:
        here, there = (model.predict(file, "a circle").ids for model in models(run, "me/first"))
    assert (here == there).all()


def models(*places):
    return [PerceptionModel.from_pretrained(place) for place in places]


def test_the_card_of_a_run_has_the_hub_s_metadata_and_no_path_of_this_disk(hub, first_layout):
    tadp("push", first_layout / "run", "me/card")
    card = hub.files("me/card")["README.md"].decode()
    known = metadata(card)
    assert known["pipeline_tag"] == "image-segmentation"
    (index,) = known["model-index"]
    assert index["name"] == "card"
    metrics = {metric["type"]: metric["value"] for metric in index["results"][0]["metrics"]}
    assert 0 <= metrics["mIoU"] <= 1
    assert "a dog on a sofa" not in card
    assert 'from_pretrained("me/card")' in card
    assert "- code, tadp: Apache-2.0" in card
    assert str(first_layout.parent) not in card
    assert "sample.png" not in hub.files("me/card"), "an image of the user's data, which nobody named"


def test_a_revision_is_a_commit_or_a_tag(hub, first_layout, tmp_path):
    head = PerceptionModel.from_pretrained(first_layout / "run").head
    head.save_pretrained(tmp_path / "head")
    from tadp_heads.hub.repository import upload_folder

    upload_folder(tmp_path / "head", "me/head")
    hub.tags["model", "me/head", "v1"] = 1
    (tmp_path / "head" / "note.txt").write_text("later")
    upload_folder(tmp_path / "head", "me/head")
    assert (local_folder("me/head") / "note.txt").is_file()
    assert not (local_folder("me/head", revision="v1") / "note.txt").is_file()
    assert isinstance(FPNHead.from_pretrained("me/head", revision="v1"), FPNHead)
    with pytest.raises(FileNotFoundError, match=r"me/head: no such path here.* at 'v2' is not available"):
        FPNHead.from_pretrained("me/head", revision="v2")
    with pytest.raises(FileNotFoundError, match="me/other: no such path here, and the hub's model of that name is not"):
        PerceptionModel.from_pretrained("me/other")


def test_commands_take_a_run_of_the_hub(hub, first_layout, tmp_path):
    model = PerceptionModel.from_pretrained(first_layout / "run")
    assert model.push_to_hub("me/model").startswith(hub.url)
    assert metadata(hub.files("me/model")["README.md"].decode())["library_name"] == "tadp"
    tadp("push", first_layout / "run", "me/run")
    image = first_layout / "photos" / "images" / "val_00004.png"
    tadp("predict", "me/run", image, "--caption", "a circle", "--out", tmp_path / "predictions")
    assert list((tmp_path / "predictions").glob("val_00004*"))
    assert "hf download me/run" in tadp("eval", "me/run", code=2)


def test_a_token_and_a_lora_arrive_as_they_were_sent(hub, first_layout):
    for kind in ("token", "lora"):
        tadp("push", first_layout / kind, f"me/{kind}")
        assert hub.files(f"me/{kind}") == sent(first_layout / kind)
        assert metadata(hub.files(f"me/{kind}")["README.md"].decode())["library_name"] == "diffusers"
    backbone, other = (DiffusionBackbone.from_pretrained(first_layout / "backbone") for _ in range(2))
    token = load_token("me/token", tokenizer=backbone.tokenizer, text_encoder=backbone.text_encoder)
    assert other.load_tokens("me/token") == [token]
    before = other.unet.state_dict()["conv_in.weight"].clone()
    weights = {name: value.clone() for name, value in other.unet.state_dict().items()}
    other.load_lora("me/lora")
    assert any((weights[name] != value).any() for name, value in other.unet.state_dict().items())
    assert (before == other.unet.state_dict()["conv_in.weight"]).all()


def test_captions_are_a_data_set(hub, first_layout, tmp_path):
    file = first_layout / "captions.jsonl"
    tadp("push", file, "me/captions")
    files = hub.files("me/captions", "dataset")
    assert sorted(files) == ["README.md", "data/captions.parquet"]
    store = CaptionStore.read("me/captions")
    assert list(store.records()) == list(CaptionStore.read(file).records())
    pulled = local_folder("me/captions", kind="dataset") / "data" / "captions.parquet"
    assert pulled.read_bytes() == files["data/captions.parquet"]
    card = metadata(files["README.md"].decode())
    assert card["configs"] == [{"config_name": "default", "data_files": "data/captions.parquet"}]
    assert card["size_categories"] == ["n<1K"]
    hostile = CaptionRecord(id="a", caption="b", captioner="`x`\n---\nlicense: mit")
    CaptionStore([hostile]).push_to_hub("me/hostile")
    assert "license" not in metadata(hub.files("me/hostile", "dataset")["README.md"].decode())
    assert [record.caption for record in CaptionStore.read("me/hostile").records()] == ["b"]


def test_a_recipe_names_captions_and_a_token_of_the_hub(hub, first_layout):
    tadp("push", first_layout / "captions.jsonl", "me/captions")
    tadp("push", first_layout / "token", "me/token")
    named = {"data.captions": "me/captions", "prompt.token_file": "me/token", "backbone.lora": "me/lora"}
    recipe = with_absolute_paths(load_recipe("scenes-segmentation").replace(**named))
    assert list(CaptionStore.read(recipe.data.captions).records())
    own = first_layout / "token" / "learned_embeds.safetensors"
    assert Path(recipe.prompt.token_file).read_bytes() == own.read_bytes()
    assert recipe.backbone.lora == "me/lora"


def test_what_cannot_be_pushed_is_one_line(hub, first_layout, tmp_path):
    assert "expected owner/name" in tadp("push", first_layout / "run", "first", code=2)
    assert "no such run, personalization or file of captions" in tadp("push", tmp_path / "none", "me/a", code=2)
    (tmp_path / "empty").mkdir()
    assert "neither a finished run nor a personalization" in tadp("push", tmp_path / "empty", "me/a", code=2)
    assert hub.commits == {}


def test_images_of_a_data_set_are_captioned_by_split(hub, tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    for name, numbers in (("train-00000-of-00002", range(2)), ("train-00001-of-00002", range(2, 3)), ("test", (3,))):
        (tmp_path / "set" / "data").mkdir(parents=True, exist_ok=True)
        rows = [{"image": {"bytes": image_bytes(number), "path": f"{number}.png"}} for number in numbers]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "set" / "data" / f"{name}.parquet")
    upload_folder(tmp_path / "set", "me/images", kind="dataset")
    out = tmp_path / "captions.jsonl"
    tadp("caption", "me/images", "--split", "train", "--captioner", "tiny", "--out", out)
    ids = ["train-00000-of-00002_00000000", "train-00000-of-00002_00000001", "train-00001-of-00002_00000000"]
    assert sorted(CaptionStore.read(out)) == ids
    assert "4 captioned" in tadp("caption", "me/images", "--captioner", "tiny", "--out", tmp_path / "all.jsonl")
    said = tadp("caption", "me/images", "--split", "val", "--captioner", "tiny", "--out", out, code=2)
    assert "no .parquet or .tar of the split 'val'" in said
