"""`tadp captions` from file to file: convert, diff, class-names, modify, stats against labels."""

import csv
import json

import pytest
from invoking import tadp

from tadp_heads.data.scenes.write import write_scenes


@pytest.fixture
def captions(tmp_path):
    file = tmp_path / "c.jsonl"
    rows = [{"id": "a", "caption": "a painting of a dog"}, {"id": "b", "caption": "two cats", "captioner": "blip2"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_table_with_its_own_columns_comes_in_and_goes_out(captions, tmp_path):
    table = tmp_path / "metadata.csv"
    names = ("--id-column", "file_name", "--caption-column", "text")
    tadp("captions", "convert", captions, "--out", table, *names)
    with table.open(newline="") as file:
        assert [(row["file_name"], row["text"]) for row in csv.DictReader(file)] == [
            ("a", "a painting of a dog"),
            ("b", "two cats"),
        ]
    tadp("captions", "convert", table, "--out", tmp_path / "back.jsonl", *names)
    back = [json.loads(line) for line in (tmp_path / "back.jsonl").read_text().splitlines()]
    assert [(row["id"], row["caption"], row["captioner"]) for row in back] == [
        ("a", "a painting of a dog", ""),
        ("b", "two cats", "blip2"),
    ]
    assert "expected columns 'id' and 'caption', got file_name, text" in tadp(
        "captions", "convert", table, "--out", tmp_path / "x.jsonl", code=2
    )
    assert "are for .csv, .tsv, .parquet" in tadp(
        "captions", "convert", captions, "--out", tmp_path / "x.json", *names, code=2
    )


def test_text_files_beside_images(captions, tmp_path):
    tadp("captions", "convert", captions, "--out", tmp_path / "texts")
    assert (tmp_path / "texts" / "b.txt").read_text() == "two cats\n"
    assert sorted(file.name for file in (tmp_path / "texts").iterdir()) == ["a.txt", "b.txt"]


def test_diff_shows_what_cleaning_changed(captions, tmp_path):
    clean = tmp_path / "clean.jsonl"
    tadp("captions", "clean", captions, "--domain", "watercolor", "--out", clean)
    said = tadp("captions", "diff", captions, clean)
    assert "a - a painting of a dog + a dog" in said
    assert "1 changed, 0 only in" in said
    assert "two cats" not in said


def test_modify_by_phrase_and_to_the_letter(captions, tmp_path):
    out = tmp_path / "m.jsonl"

    def texts() -> list[str]:
        return [json.loads(line)["caption"] for line in out.read_text().splitlines()]

    tadp("captions", "modify", captions, "--domain-phrase", "pencil sketch", "--modifier", "simple", "--out", out)
    assert texts()[1] == "a pencil sketch of two cats"
    tadp(
        "captions",
        "modify",
        captions,
        "--domain",
        "comic",
        "--modifier",
        "textual-inversion",
        "--token",
        "<mine>",
        "--out",
        out,
    )
    assert texts()[1] == "a <mine> style painting of two cats"
    reference = ("--domain", "watercolor", "--modifier", "simple", "--style", "reference", "--out", out)
    tadp("captions", "modify", captions, *reference)
    assert texts()[1] == "a watercolor painting of a two cats"
    assert "either --domain" in tadp("captions", "modify", captions, "--modifier", "simple", "--out", out, code=2)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_scenes(folder, task="segmentation", domain="photo", split="val", count=4, seed=0)
    return folder


def test_class_names_are_the_same_for_every_image(photos, tmp_path):
    out = tmp_path / "names.jsonl"
    said = tadp("captions", "class-names", photos, "--split", "val", "--out", out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    classes = [name for name in (photos / "classes.txt").read_text().split() if name != "background"]
    assert f"4 captions of {len(classes)} class names" in said
    assert {row["caption"] for row in rows} == {" ".join(classes)}
    assert len({row["id"] for row in rows}) == 4
    stats = tadp("captions", "stats", out, "--data", photos)
    assert "recall 1.000" in stats


def test_precision_of_what_no_caption_names_is_undefined(photos, tmp_path):
    """It was 1.000, as if such a class were named without an error."""
    ids = [path.stem for path in (photos / "images").glob("val*")]
    rows = [json.dumps({"id": image_id, "caption": "nothing in particular"}) for image_id in ids]
    (tmp_path / "c.jsonl").write_text("\n".join(rows))
    table = tmp_path / "images.csv"
    said = tadp("captions", "stats", tmp_path / "c.jsonl", "--data", photos, "--split", "val", "--per-image", table)
    assert "class precision undefined, recall 0.000" in said
    assert all(line.endswith(",,0.0") for line in table.read_text().splitlines()[1:])


def test_recall_by_words_and_by_clip_with_a_row_an_image(photos, tmp_path):
    """Against the oracle's captions every way of matching must find every class."""
    oracle, table = tmp_path / "oracle.jsonl", tmp_path / "images.csv"
    tadp("captions", "oracle", photos, "--out", oracle)
    said = tadp("captions", "stats", oracle, "--data", photos, "--backbone", "tiny", "--per-image", table)
    assert "words and synonyms: class precision 1.000, recall 1.000" in said
    assert "CLIP-text cosine >= 0.9: class precision" in said
    assert "tokens each, 0.0% over the length of CLIP" in said
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert {row["recall"] for row in rows} == {"1.0"}
    assert {row["matching"] for row in rows} == {"words and synonyms", "CLIP-text cosine >= 0.9"}


def test_style_words_are_flagged_where_a_domain_is_named(captions, tmp_path):
    flagged = tmp_path / "bad.txt"
    assert "painting 1" in tadp("captions", "stats", captions, "--flag", flagged)
    assert flagged.read_text() == ""
    tadp("captions", "stats", captions, "--flag", flagged, "--domain", "watercolor")
    assert flagged.read_text() == "a\n"
    assert "need a data set: name it with --data" in tadp("captions", "stats", captions, "--split", "val", code=2)
