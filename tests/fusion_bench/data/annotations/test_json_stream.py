"""Reading a list from a file item by item, through a window of a few characters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_bench.data.annotations import json_stream
from fusion_bench.data.annotations.json_stream import list_items
from fusion_bench.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("json") / "x.json"


@given(
    items=st.lists(VALUES),
    before=VALUES,
    after=VALUES,
    indent=st.sampled_from([None, 1]),
    plain=st.booleans(),
    part=st.integers(60, 200),
)
@settings(max_examples=60, deadline=None)
def test_items_are_those_of_the_whole_file(
    file: Path, items: list[object], before: object, after: object, indent: int | None, plain: bool, part: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_PART", part)
        written = {"info": before, "questions": items, "license": after}
        text = json.dumps(written, indent=indent, ensure_ascii=plain)
        if max(len(json.dumps(value)) for value in [before, after, *items]) > part:
            return
        file.write_text(text, encoding="utf-8")
        assert [*list_items(file, "questions")] == json.loads(text)["questions"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not contain an object with the key 'questions'"),
        ("[1]", "does not contain an object with the key 'questions'"),
        ('{"info": 1}', "does not contain a list under the key 'questions'"),
        ('{"questions": {"a": 1}}', "does not contain a list under the key 'questions'"),
        ('{"questions": [1, 2', r"is not JSON: expecting ',' \(character 19\)"),
        ('{"questions": [1 2]}', r"is not JSON: expecting ',' \(character 17\)"),
        ('{"questions": [1,]}', r"is not JSON: illegal trailing comma \(character 17\)"),
        ('{"questions": [1], }', r"is not JSON: illegal trailing comma \(character 19\)"),
        ('{"questions": [1, {"a": ]}', r"is not JSON: Expecting value \(character 24\)"),
        ('{"questions": [1]', r"is not JSON: expecting ',' \(character 17\)"),
    ],
)
def test_invalid_json_is_reported_with_its_position(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        [*list_items(path, "questions")]
    assert str(path) in str(error.value)


@pytest.mark.parametrize("end", ["", "\n\n", "\r\n"])
def test_a_byte_order_mark_and_any_line_ends_are_read(tmp_path: Path, end: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf" + f'{{"questions":\r\n[1,\r\n"\u732b"]}}{end}'.encode())
    assert [*list_items(path, "questions")] == [1, "\u732b"]


@pytest.mark.parametrize("text", [r"\ud83d", r"a\uDE00b", r"\ud83d\ud83d", r"\ude00\ud83d"])
def test_half_of_a_surrogate_pair_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(r'{"questions": [{"q": "\ud83d\ude00 \u00e9"}, {"q": "' + text + '"}]}')
    items = list_items(path, "questions")
    assert next(items) == {"q": "\U0001f600 \u00e9"}
    with pytest.raises(
        DataError, match=r"x\.json: a text contains half of a surrogate pair.* from character 45"
    ):
        next(items)


def test_brackets_without_end_are_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"questions": ' + "[" * 200_000 + "]" * 200_000 + "}")
    with pytest.raises(DataError, match="is nested too deeply"):
        [*list_items(path, "questions")]


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes('{"questions": ["\u00e9"]}'.encode("latin-1"))
    with pytest.raises(DataError, match="is not JSON"):
        [*list_items(path, "questions")]
