from pathlib import Path

import pytest

from orchestrator.tracking.cursor import CURSOR_FILE, Cursor
from orchestrator.tracking.jsonl import Position


def test_a_cursor_comes_back_as_it_was(tmp_path: Path) -> None:
    cursor = Cursor("store", "run", Position(12, "abc"), {"config.json": "1:2"}, "x", True)
    cursor.save(tmp_path)
    assert Cursor.load(tmp_path, "store") == cursor


def test_a_cursor_of_another_store_counts_for_nothing(tmp_path: Path) -> None:
    Cursor("store", "run", Position(12, "abc")).save(tmp_path)
    assert Cursor.load(tmp_path, "another") == Cursor("another")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"position": 3}', '{"unknown": 1, "position": {}}']
)
def test_an_unreadable_cursor_is_a_fresh_one(tmp_path: Path, text: str) -> None:
    (tmp_path / CURSOR_FILE).write_text(text, encoding="utf-8")
    assert Cursor.load(tmp_path, "store") == Cursor("store")
