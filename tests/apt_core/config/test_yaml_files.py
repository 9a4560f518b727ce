"""YAML as people mean it."""

from pathlib import Path

import pytest

from apt_core.config.yaml_files import deep_merge, parse_yaml, read_yaml
from apt_core.errors import ConfigError


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "+1.e-4", "0.0001", "1.0e-4", ".1e-3"])
def test_numbers_with_exponents_are_numbers(text: str) -> None:
    assert parse_yaml(text, "here") == pytest.approx(1e-4)


@pytest.mark.parametrize("text", ["e4", "1e", "glue/sst2", "1e4x"])
def test_what_is_no_number_stays_text(text: str) -> None:
    assert parse_yaml(text, "here") == text


def test_a_key_that_stands_twice_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"here, line 3, column 3: .*key b stands twice"):
        parse_yaml("a:\n  b: 1\n  b: 2\n", "here")


def test_anchors_and_merge_keys_work() -> None:
    assert parse_yaml("x: &x {a: 1}\ny:\n  <<: *x\n  b: 2\n", "here")["y"] == {"a": 1, "b": 2}


def test_no_python_objects_are_built() -> None:
    with pytest.raises(ConfigError, match="is not valid YAML"):
        parse_yaml("!!python/object/apply:os.getcwd []", "here")


def test_merging_goes_deep_and_changes_no_argument() -> None:
    below = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    above = {"a": {"y": [3], "z": None}, "b": {"c": 1}}
    assert deep_merge(below, above) == {"a": {"x": 1, "y": [3], "z": None}, "b": {"c": 1}}
    assert below == {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert deep_merge(below, {"a": None}) == below


def test_parents_are_merged_from_left_to_right_below_the_file(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("a: 1\nb: 1\nc: 1\n")
    (tmp_path / "two.yaml").write_text("b: 2\nc: 2\n")
    leaf = tmp_path / "leaf.yaml"
    leaf.write_text("extends: [one.yaml, two.yaml]\nc: 3\n")
    assert read_yaml(leaf) == {"a": 1, "b": 2, "c": 3}


def test_two_ways_to_the_same_parent_are_no_cycle(tmp_path: Path) -> None:
    (tmp_path / "root.yaml").write_text("a: 1\n")
    (tmp_path / "mid.yaml").write_text("extends: root.yaml\n")
    leaf = tmp_path / "leaf.yaml"
    leaf.write_text("extends: [mid.yaml, root.yaml]\n")
    assert read_yaml(leaf) == {"a": 1}


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    binary = tmp_path / "x.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"x\.yaml: cannot be read: not UTF-8 text"):
        read_yaml(binary)
