"""A hundred mutations of a small valid file of every registered reader: read, or refused in one line that names it."""

import json
import zlib

import pytest
import torch
from annotation_exports import EXPORTS
from mutations import mutated
from official_layouts import LAYOUTS, mask, picture, text, voc_boxes
from PIL import Image
from safetensors.torch import save_file

from tadp_backbone.io.load import read_config
from tadp_backbone.text.textual_inversion import read_tokens
from tadp_captioning import CaptionRecord, CaptionStore, find_images
from tadp_captioning.formats import _READERS, TABLES
from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_heads.data.annotations.formats import FORMATS
from tadp_heads.data.readers.user_folder import folder_tasks, open_folder
from tadp_heads.data.registry import DATASETS, open_data
from tadp_heads.depth.files import DEPTH_SUFFIXES, write_depth_npy, write_depth_png

MUTATIONS = 100
CAPTIONS = [
    CaptionRecord(id="a/b", caption="a dog", captioner="tiny", params="min=0", source="b.png", extra={"hash": "0"}),
    CaptionRecord(id="c", caption='Käse, \U0001f9c0 and "more"', extra={"class_label": 3}),
]


def data_set(name):
    """Of the registry, in its official layout."""
    split = DATASETS[name].splits[0]

    def read(root):
        for sample in open_data(f"{name}:{root}", split=split):
            assert sample.image.ndim == 3

    return lambda root: LAYOUTS[name](root, split), read


def captions(suffix):
    def write(root):
        CaptionStore(CAPTIONS).write(root / f"c{suffix}")

    def read(root):
        for record in CaptionStore.read(root / f"c{suffix}").records():
            record.caption.encode()

    return write, read


def write_captions_beside_images(root):
    picture(root / "a.png")
    text(root / "a.txt", "a dog")


def write_segmentation(root):
    picture(root / "images" / "a.png")
    mask(root / "masks" / "a.png", 0, 1)
    text(root / "classes.txt", "ground\ntree\n")
    text(root / "train.txt", "a\n")


def write_depth_tiff(path, metres):
    Image.fromarray(metres.numpy()).save(path)


def depth(suffix):
    writers = {".png": write_depth_png, ".npy": write_depth_npy}

    def write(root):
        picture(root / "images" / "a.png")
        (root / "depth").mkdir()
        writers.get(suffix, write_depth_tiff)(root / f"depth/a{suffix}", torch.full((16, 24), 2.0))
        text(root / "train.txt", "a\n")

    return write


def read_folder(root):
    for task in folder_tasks(root):
        list(open_folder(root, task, "train"))


def annotations(name):
    def read(root):
        for task in folder_tasks(root):
            for sample in open_folder(root, task):
                assert sample.image.ndim == 3

    return EXPORTS[name], read


def write_list(root):
    picture(root / "a.png")
    text(root / "list.txt", "a.png\n")


SAMPLES = {
    **{f"data set {name}": data_set(name) for name in LAYOUTS},
    "folder segmentation": (write_segmentation, read_folder),
    **{f"folder depth {suffix}": (depth(suffix), read_folder) for suffix in (".png", ".npy", ".tif", ".tiff")},
    "folder detection": (lambda root: voc_boxes(root, "train", "a"), read_folder),
    **{f"annotations {name}": annotations(name) for name in EXPORTS},
    "folder detection coco": (lambda root: LAYOUTS["coco"](root, "train"), read_folder),
    **{f"captions {suffix}": captions(suffix) for suffix in (".jsonl", ".json", ".csv", ".tsv", ".parquet")},
    "captions .txt": (write_captions_beside_images, lambda root: len(CaptionStore.read(root))),
    "list of images": (write_list, lambda root: find_images(root / "list.txt")),
    "tokens .safetensors": (
        lambda root: save_file({"<x>": torch.ones(2, 3)}, root / "t.safetensors"),
        lambda root: read_tokens(root / "t.safetensors"),
    ),
    "tokens .pt": (
        lambda root: torch.save({"string_to_param": {"*": torch.ones(2, 3)}, "name": "x"}, root / "t.pt"),
        lambda root: read_tokens(root / "t.pt"),
    ),
    "config of a backbone": (
        lambda root: text(root / "c.json", json.dumps({"timestep": 1, "map_strides": [16], "latent_scale": None})),
        lambda root: read_config(root / "c.json"),
    ),
    "recipe": (
        lambda root: text(root / "r.toml", Recipe().to_toml()),
        lambda root: load_recipe(str(root / "r.toml")),
    ),
}
REGISTERED = {
    *(f"annotations {name}" for name in FORMATS),
    *(f"data set {name}" for name in DATASETS),
    *(f"captions {suffix}" for suffix in (*_READERS, *TABLES)),
    *(f"folder depth {suffix}" for suffix in DEPTH_SUFFIXES),
}


def test_every_registered_reader_has_a_sample():
    assert SAMPLES.keys() >= REGISTERED, f"write a sample for {sorted(REGISTERED - SAMPLES.keys())}"


def fault(read, root):
    """What is wrong with how the reader refuses what is there; None: nothing, or it reads it."""
    try:
        read(root)
    except ValueError as error:
        named, lines = str(root) in str(error), len(str(error).strip().splitlines())
        return None if named and lines == 1 else f"{error!r}, not one line with the file's name"
    except Exception as error:
        return repr(error)
    return None


@pytest.mark.filterwarnings("ignore")  # of decoders, about the damage
@pytest.mark.parametrize("reader", sorted(SAMPLES.keys() | REGISTERED))
def test_mutations_are_read_or_refused_in_one_line(tmp_path, reader):
    write, read = SAMPLES[reader]
    write(tmp_path)
    read(tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    whole = {file: file.read_bytes() for file in files}
    for index, file in enumerate(files):
        count = len(range(index, MUTATIONS, len(files)))
        for number, content in enumerate(mutated(whole[file], count, zlib.crc32(reader.encode()) + index)):
            file.write_bytes(content)
            wrong = fault(read, tmp_path)
            assert wrong is None, f"mutation {number} of {file.name}: {wrong}: {content[:300]!r}"
        file.write_bytes(whole[file])
