"""From files and overrides to a config, or to one message with everything that is wrong."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from apt_core.config import (
    ExperimentConfig,
    config_from_json,
    config_to_json,
    load_config,
    seed_flag_overrides,
)
from apt_core.errors import ConfigError

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file below a fresh folder."""

    def _write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def complaint(*overrides: str, files: tuple[Path, ...] = ()) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(files, overrides)
    return str(error.value)


def test_without_files_the_defaults_hold() -> None:
    assert load_config() == ExperimentConfig()


def test_later_files_win_and_overrides_win_over_files(write: Write) -> None:
    first = write("a.yaml", "name: first\ntraining: {seed: 1, batch_size: 8, eps: 1e-6}\n")
    second = write("b.yaml", "name: second\ntraining:\n  batch_size: 16\n")
    config = load_config([first, str(second)], ["training.seed=9", "training.seed=10"])
    assert config.name == "second"
    assert (config.training.seed, config.training.batch_size) == (10, 16)
    assert config.training.eps == 1e-6


def test_overrides_are_yaml_values() -> None:
    config = load_config(
        overrides=[
            "training.learning_rate=3e-5",
            "evaluation.inference_batch_size=[1, 2]",
            "model.dropout=null",
            "tracking.enabled=false",
            "tracking.uri=http://host:5000/?a=b",
            "pruning.start=10%",
        ]
    )
    assert config.training.learning_rate == 3e-5
    assert config.evaluation.inference_batch_size == (1, 2)
    assert config.tracking.uri == "http://host:5000/?a=b"
    assert not config.tracking.enabled
    assert str(config.pruning.start) == "10%"


def test_an_empty_file_or_section_changes_nothing(write: Write) -> None:
    empty = write("empty.yaml", "")
    hollow = write("hollow.yaml", "training:\ndata:\n")
    full = write("full.yaml", "training: {seed: 5}\n")
    assert load_config([empty, full, hollow]).training.seed == 5


def test_a_file_extends_another_relative_to_itself(write: Write) -> None:
    write("base/root.yaml", "training: {seed: 1, batch_size: 4}\nname: root\n")
    write("base/mid.yaml", "extends: root.yaml\ntraining: {batch_size: 8}\n")
    leaf = write("leaf.yaml", "extends: [base/mid.yaml]\nname: leaf\n")
    config = load_config([leaf])
    assert (config.name, config.training.seed, config.training.batch_size) == ("leaf", 1, 8)


def test_a_cycle_of_extends_is_told(write: Write) -> None:
    first = write("a.yaml", "extends: b.yaml\n")
    write("b.yaml", "extends: a.yaml\n")
    assert re.search(r"a\.yaml: extends itself .*b\.yaml -> .*a\.yaml", complaint(files=(first,)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training:\n  seed: [1\nname: x\n", r"bad\.yaml, line 3, column \d+: is not valid YAML"),
        ("training:\n\tseed: 1\n", r"bad\.yaml, line 2"),
        ("name: a\nname: b\n", r"line 2, column 1: is not valid YAML: key name stands twice"),
        ("- a\n- b\n", r"bad\.yaml: must hold key: value pairs"),
        ("extends: 3\n", r"extends: must name files \(got 3\)"),
        ("extends: none.yaml\n", r"none\.yaml: cannot be read: No such file"),
    ],
)
def test_a_malformed_file_is_told_with_its_place(write: Write, text: str, message: str) -> None:
    assert re.search(message, complaint(files=(write("bad.yaml", text),)))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "training.lerning_rate=1",
            r"training\.lerning_rate: unknown key; did you mean learning_rate",
        ),
        (
            "target_sparsity=0.4",
            r"^target_sparsity: unknown key; did you mean pruning\.target_spars",
        ),
        ("batch_size=3", r"did you mean training\.batch_size\?"),
        ("zzz=1", r"zzz: unknown key; remove it; known keys here: name, mode, arm"),
        ("model.adapter.apply_ffn=true", r"did you mean apply_to_ffn\?"),
        ("data.datasets.sst2.label_colum=x", r"datasets\.sst2\.label_colum: .*label_column\?"),
        ("orchestration.grid=[{sparsty: 0.4}]", r"grid\[0\]\.sparsty: .*did you mean sparsity\?"),
        ("arm=aptt", r'arm: is not a known value \(got "aptt"\); did you mean apt\?'),
        ("ablation=w/o_ds", r"ablation: .*did you mean w/o_Ds\?"),
        ("hardware.precision=fp61", r"did you mean fp16\? choose one of fp32, bf16, fp16"),
        ("pruning.target_sparsity=1.2", r"target_sparsity: must be below 1 \(got 1\.2\)"),
        ("training.batch_size='32'", r'must be a whole number \(got "32"\); .*without quotes'),
        ("training.batch_size=2.5", r"batch_size: must be a whole number"),
        ("training.batch_size=0", r"batch_size: must be above 0 \(got 0\)"),
        ("hardware.zero_stage=4", r"zero_stage: must be at most 3"),
        ("tuning.max_tuning_params_ratio=0.5", r"must be at least 1 \(got 0\.5\); write 1 or more"),
        ("training.learning_rate=.nan", r"learning_rate: must be finite \(got NaN\)"),
        ("tracking.enabled=maybe", r"enabled: must be true or false"),
        ("training=3", r"training: must be a section"),
        ("model.adapter.mha_components=q_proj", r"mha_components: must be a list"),
        ("training.betas=[0.9]", r"training\.betas\[1\]: is required; set it"),
        ("data.datasets.mine.path=x", r"mine\.text_columns: is required.*\n.*mine\.labels: is req"),
        (
            "training.warmup=6 weeks",
            r'warmup: is not a duration \(got "6 weeks"\); write "200 steps"',
        ),
        ("training.eval_every=0", r"eval_every: must be longer than 0 \(got 0\)"),
        ("name=a/b", r"name: must be fit for a folder name"),
        ("nonsense", r'override: is not an assignment \(got "nonsense"\)'),
        (".a=1", r"is not an assignment"),
        ("training.seed=[1", r"override training\.seed, line 1, column \d: is not valid YAML"),
    ],
)
def test_a_wrong_value_is_told_with_place_and_remedy(override: str, message: str) -> None:
    text = complaint(override)
    assert re.search(message, text)
    assert "pydantic" not in text
    assert "Input should" not in text


def test_everything_wrong_is_told_at_once(write: Write) -> None:
    broken = write("broken.yaml", "a: [\n")
    lines = complaint(
        "arm=aptt",
        "training.seed=x",
        "hardware.precision=fp16",
        "data.dataset=sst",
        "nonsense",
        files=(broken,),
    ).splitlines()
    starts = ["arm:", "training.seed:", "hardware.precision:", "data.dataset:", "override:"]
    assert all(any(line.startswith(start) for line in lines) for start in starts)
    assert len(lines) == len(starts) + 1


def test_rules_keep_silent_about_fields_that_are_wrong_themselves() -> None:
    # With batch_size set aside the default 32 would not divide over 3 workers.
    assert len(complaint("training.batch_size=x", "hardware.num_workers=3").splitlines()) == 1
    wrong_entry = complaint("model.architectures.mine=3", "model.model_type=mine")
    assert len(wrong_entry.splitlines()) == 1


def test_rules_speak_although_a_dataset_lacks_keys() -> None:
    text = complaint("data.datasets.mine.path=x", "arm=ft", "ablation=w/o_Ap")
    assert "ablation: only arm apt" in text


def test_json_and_back_is_the_same_config() -> None:
    config = load_config(
        overrides=["orchestration.grid=[{sparsity: 0.4, seed: [1, 2], set: {a.b: 1}}]", "arm=lora"]
    )
    assert config_from_json(json.loads(json.dumps(config_to_json(config)))) == config
    assert config.orchestration.grid[0].sparsity == (0.4,)


def test_wrong_json_is_told_like_a_wrong_file() -> None:
    with pytest.raises(ConfigError, match="arm: is not a known value"):
        config_from_json({"arm": "x"})


def test_short_flags_become_overrides() -> None:
    overrides = seed_flag_overrides("bert", "rte", 0.4, "w/o_AT")
    config = load_config(overrides=overrides)
    assert (config.model.model_type, config.data.dataset) == ("bert", "rte")
    assert (config.pruning.target_sparsity, config.ablation) == (0.4, "w/o_AT")
    assert seed_flag_overrides() == []
