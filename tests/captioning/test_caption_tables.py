import pytest

from tadp_captioning import CaptionRecord, CaptionStore, Columns

ROWS = [("a", "a dog, a cat"), ("b", 'two "cats" and a caf\u00e9')]


def read(path, **columns):
    store = CaptionStore.read(path, columns=Columns(**columns) if columns else None)
    return [(record.id, record.caption) for record in store.records()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("first", ["", "sep={}\r\n"])
@pytest.mark.parametrize("header", ["id{}caption", "Caption{} ID "])
def test_tables_of_any_spreadsheet_are_read(tmp_path, encoding, separator, first, header):
    order = [0, 1] if header.startswith("id") else [1, 0]
    lines = [header.format(separator)]
    for row in ROWS:
        values = ['"{}"'.format(row[i].replace('"', '""')) for i in order]
        lines.append(separator.join(values))
    text = first.format(separator) + "\r\n".join([*lines, separator, ""])
    (tmp_path / "c.csv").write_bytes(text.encode(encoding))
    assert read(tmp_path / "c.csv") == ROWS


def test_names_of_columns_choose_the_separator(tmp_path):
    (tmp_path / "c.tsv").write_text("file, name\ttext; here\nx\ta dog, sleeping; deeply\n")
    assert read(tmp_path / "c.tsv", id="file, name", caption="text; here") == [("x", "a dog, sleeping; deeply")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,caption\na,a dog, a cat\n", r"c\.csv, line 2: 3 values for 2 columns; put a caption that holds ','"),
        (b"id,caption\na,a caf\xe9\n", r"c\.csv: not UTF-8 \(byte 18 is 0xe9\); save it as UTF-8"),
        (b"image,text\na,a dog\n", r"c\.csv, line 2: expected columns 'id' and 'caption', got image, text"),
        (b'id,caption\na,"a dog" runs\n', r"c\.csv, line 2: not a table"),
        (b"id,caption\na\n", r"c\.csv, line 2: expected columns"),
        (b"id,caption,Caption,caption\na,a dog,b,c\n", r"c\.csv: several columns are called 'caption'"),
        ("id,caption\na,a dog\n".encode("utf-16-le"), r"c\.csv: not UTF-8 \(character 1 is null\); save it as UTF-8"),
        (b"\n\nid,caption\na,a dog\nb\n", r"c\.csv, line 5: expected columns"),
    ],
)
def test_what_would_lose_words_is_one_line_with_its_place(tmp_path, content, message):
    (tmp_path / "c.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "c.csv")


def test_of_several_captions_of_an_image_the_first_counts_and_it_is_said(tmp_path, caplog):
    (tmp_path / "c.csv").write_text("image,caption\na.jpg,a dog\na.jpg,a puppy\nb.jpg,a cat\n")
    assert read(tmp_path / "c.csv", id="image") == [("a.jpg", "a dog"), ("b.jpg", "a cat")]
    assert "1 further captions of the same images" in caplog.text


def test_empty_lines_before_the_header_are_passed_over(tmp_path):
    (tmp_path / "c.csv").write_text("\n \r\nid;caption\na;a dog\n")
    assert read(tmp_path / "c.csv") == [("a", "a dog")]


def test_json_lines_in_utf_16_are_no_torn_line(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"id": "a", "caption": "a dog"}', encoding="utf-16")
    with pytest.raises(ValueError, match="JSON Lines are UTF-8: save it as UTF-8"):
        CaptionStore.read(tmp_path / "c.jsonl")


def test_a_column_called_extra_is_kept_whatever_it_holds(tmp_path):
    (tmp_path / "c.csv").write_text("id,caption,extra\na,a dog,by night\n")
    (record,) = CaptionStore.read(tmp_path / "c.csv").records()
    assert record.extra == {"extra": "by night"}


def test_parquet_with_numbers_and_lists(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"id": 7, "caption": ["a dog", "a puppy"]}, {"id": 8, "caption": ["a cat"]}]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "c.parquet")
    assert read(tmp_path / "c.parquet") == [("7", "a dog"), ("8", "a cat")]


def test_spreadsheets_themselves_are_said_to_be_exported(tmp_path):
    (tmp_path / "c.xlsx").touch()
    with pytest.raises(ValueError, match="export the sheet as CSV"):
        CaptionStore.read(tmp_path / "c.xlsx")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.json", '{"a": {"captions": ["a dog"]}}'),
        ("c.jsonl", '{"id": "a", "caption": "a dog"}\n\n'),
        ("a.txt", "a dog"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_a_caption(tmp_path, name, content, encoding):
    if (name, encoding) == ("c.jsonl", "utf-16"):
        pytest.skip("JSON Lines are UTF-8")
    (tmp_path / name).write_bytes(content.encode(encoding))
    (tmp_path / "a.JPG").touch()
    assert read(tmp_path if name == "a.txt" else tmp_path / name) == [("a", "a dog")]


def test_names_that_are_no_utf_8_come_back_the_same(tmp_path):
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    CaptionStore.open(tmp_path / "c.jsonl").add(CaptionRecord(id=name, caption="a dog"))
    for target in ("d.jsonl", "d.json"):
        CaptionStore.read(tmp_path / "c.jsonl").write(tmp_path / target)
        assert read(tmp_path / target) == [(name, "a dog")]
    CaptionStore.read(tmp_path / "c.jsonl").write(tmp_path / "d.csv")
    assert read(tmp_path / "d.csv") == [("caf\\udce9", "a dog")]


def test_one_name_too_long_for_the_file_system_leaves_the_others_written(tmp_path):
    records = [CaptionRecord(id=image_id, caption="a dog") for image_id in ("x" * 255, "b")]
    with pytest.raises(RuntimeError, match=r"1 captions could not be written, such as 'xxx.*the others are"):
        CaptionStore(records).write(tmp_path / "texts")
    assert [file.name for file in (tmp_path / "texts").iterdir()] == ["b.txt"]
