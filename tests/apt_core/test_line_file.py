from pathlib import Path

from apt_core.line_file import drop_torn_line


def test_only_what_lacks_its_line_feed_is_cut_away(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    for before, after in ((b"a\nb\nc", b"a\nb\n"), (b"a\n", b"a\n"), (b"torn", b""), (b"", b"")):
        path.write_bytes(before)
        drop_torn_line(path)
        assert path.read_bytes() == after


def test_a_missing_file_stays_missing(tmp_path: Path) -> None:
    drop_torn_line(tmp_path / "lines")
    assert not (tmp_path / "lines").exists()
