import base64
import json
from urllib.parse import quote

import pytest

from tadp_captioning.chat_api.api_key import read_key, without_key

KEY = 'gsk_VERY"SECRET\\12345'


@pytest.mark.parametrize("ending", ["\n", "\r\n", " ", ""])
def test_a_line_break_is_no_part_of_the_key(monkeypatch, ending):
    monkeypatch.setenv("OPENAI_API_KEY", KEY + ending)
    assert read_key() == KEY


@pytest.mark.parametrize("key", ["schl\u00fcssel-12345", "two words12345", "a\nb12345"])
def test_what_no_header_can_carry_is_refused_without_showing_it(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ValueError, match="OPENAI_API_KEY contains") as error:
        read_key()
    assert "12345" not in str(error.value)


@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        lambda key: json.dumps({"header": key}),
        lambda key: repr(f"Bearer {key}".encode()),
        lambda key: quote(key, safe=""),
        lambda key: base64.b64encode(key.encode()).decode(),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_no_encoding_of_the_key_is_left_in_a_message(monkeypatch, write, ending):
    monkeypatch.setenv("OPENAI_API_KEY", KEY + ending)
    shown = without_key(f"refused: {write(KEY + ending)} at 10:00")
    assert "SECRET" not in shown
    assert base64.b64encode(b"VERY").decode().rstrip("=") not in shown
    assert shown.startswith("refused: ")
