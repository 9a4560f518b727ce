import shlex
from pathlib import Path

import pytest

from apt_core.config import ExperimentConfig, load_config
from apt_core.errors import ConfigError
from orchestrator import identity
from orchestrator.identity import code_version, expand_grid, grid_id, run_id, sweep_id

TOY = ("model.model_type=toy", "data.dataset=toy_sentiment")


def config_with(*overrides: str) -> ExperimentConfig:
    return load_config([], [*TOY, *overrides])


def id_of(*overrides: str, data: str = "data", code: str = "code") -> str:
    return run_id(config_with(*overrides), data, code)


def grid(blocks: str, *overrides: str) -> list[identity.Cell]:
    return expand_grid(config_with(f"orchestration.grid={blocks}", *overrides))


def test_an_id_is_sixteen_hexadecimal_digits_and_repeats() -> None:
    assert len(id_of()) == 16
    assert int(id_of(), 16) >= 0
    assert id_of() == id_of()


def test_what_changes_the_result_changes_the_id() -> None:
    ids = [
        id_of(),
        id_of("training.seed=2"),
        id_of("pruning.target_sparsity=0.5"),
        id_of("arm=ft"),
        id_of("ablation=w/o_Ds"),
        id_of(data="other"),
        id_of(code="other"),
    ]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "orchestration.results_dir=/elsewhere",
        "orchestration.max_failures=3",
        "tracking.enabled=false",
        "training.log_every=5 steps",
        "orchestration.grid=[{seed: [1, 2]}]",
    ],
)
def test_what_does_not_change_the_result_leaves_the_id_alone(override: str) -> None:
    assert id_of(override) == id_of()


def test_settings_of_a_part_that_is_off_leave_the_id_alone() -> None:
    assert id_of("arm=ft", "pruning.target_sparsity=0.4") == id_of("arm=ft")
    assert id_of("ablation=w/o_Ds", "distillation.num_teacher_layers=2") == id_of("ablation=w/o_Ds")


def test_the_id_does_not_depend_on_the_order_of_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = id_of()
    result_key = ExperimentConfig.result_key

    def reversed_key(config: ExperimentConfig) -> dict[str, object]:
        key = result_key(config)
        return {name: key[name] for name in reversed(list(key))}

    monkeypatch.setattr(ExperimentConfig, "result_key", reversed_key)
    assert id_of() == before


def test_a_sweep_is_the_set_of_its_runs() -> None:
    assert sweep_id(["a", "b", "a"]) == sweep_id(["b", "a"])
    assert sweep_id(["a"]) != sweep_id(["a", "b"])


def test_the_code_version_changes_with_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "apt_core"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    source = package / "sub" / "formula.py"
    source.write_text("x = 1\n")
    monkeypatch.setattr("apt_core.__file__", str(package / "__init__.py"))
    compute = code_version.__wrapped__
    before = compute()
    assert compute() == before
    (package / "notes.txt").write_text("no code")
    assert compute() == before
    source.write_text("x = 2\n")
    changed = compute()
    assert changed != before
    source.rename(package / "formula.py")
    assert compute() not in (before, changed)


def test_without_a_grid_the_configuration_is_the_only_cell() -> None:
    [cell] = expand_grid(config_with("training.seed=7"))
    assert cell.overrides == ()
    assert cell.config == config_with("training.seed=7")
    assert cell.keys["seed"] == "7"


def test_a_block_is_the_product_of_its_lists() -> None:
    cells = grid("[{arm: apt, sparsity: [0.4, 0.6], seed: [1, 2]}]")
    seen = [(c.config.pruning.target_sparsity, c.config.training.seed) for c in cells]
    assert seen == [(0.4, 1), (0.4, 2), (0.6, 1), (0.6, 2)]
    assert cells[0].overrides == ("arm=apt", "pruning.target_sparsity=0.4", "training.seed=1")
    assert cells[0].config.orchestration.grid == ()


def test_baselines_come_first_otherwise_the_order_is_as_written() -> None:
    cells = grid("[{arm: [apt, lora, ft], seed: [2, 1]}]")
    assert [(c.config.arm, c.config.training.seed) for c in cells] == [
        ("ft", 2),
        ("ft", 1),
        ("lora", 2),
        ("lora", 1),
        ("apt", 2),
        ("apt", 1),
    ]


def test_identical_cells_are_one() -> None:
    cells = grid("[{arm: [ft, apt], sparsity: [0.4, 0.6]}, {arm: apt, sparsity: 0.6}]")
    seen = [(c.config.arm, c.keys["sparsity"]) for c in cells]
    assert seen == [("ft", "0.0"), ("apt", "0.4"), ("apt", "0.6")]


def test_every_cell_has_every_key_that_any_block_sets() -> None:
    cells = grid(
        "[{arm: ft}, {arm: apt, "
        "set: {tuning.max_rank: 16, training.warmup: 5 steps, training.seed: 3}}]"
    )
    assert {frozenset(cell.keys) for cell in cells} == {
        frozenset(
            [
                "arm",
                "ablation",
                "sparsity",
                "model",
                "dataset",
                "seed",
                "tuning.max_rank",
                "training.warmup",
            ]
        )
    }
    assert cells[1].keys["tuning.max_rank"] == "16"
    assert cells[1].keys["seed"] == "3"


def test_a_list_of_the_block_wins_over_its_set() -> None:
    cells = grid("[{seed: [1, 2], set: {training.seed: 9}}]")
    assert [c.config.training.seed for c in cells] == [1, 2]


@pytest.mark.parametrize(
    "block",
    [
        "{arm: apt, ablation: [w/o_Ap, w/o_Ds], sparsity: 0.45, seed: 3}",
        "{set: {training.learning_rate: 1e-5, training.warmup: 5 steps, training.max_steps: null}}",
        "{set: {model.adapter.mha_components: [q_proj], evaluation.measure_efficiency: false}}",
        "{set: {model.revision: '1.0', data.cache_dir: ~/else where}}",
    ],
)
def test_the_overrides_of_a_cell_make_the_same_cell_from_the_base(block: str) -> None:
    for cell in grid(f"[{block}]"):
        copied = shlex.split(shlex.join(cell.overrides))
        assert config_with(*copied) == cell.config


def test_all_bad_cells_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        grid("[{arm: [ft, lora, apt], ablation: [full, w/o_Ap]}, {set: {training.sed: 1}}]")
    message = str(caught.value)
    assert "3 of 7 cells are not valid" in message
    assert "in cell: arm=ft ablation=w/o_Ap" in message
    assert "in cell: arm=lora ablation=w/o_Ap" in message
    assert "in cell: training.sed=1" in message
    assert "did you mean seed" in message


def test_a_path_with_an_unset_variable_is_a_bad_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APTUNE_NOWHERE", raising=False)
    with pytest.raises(ConfigError, match=r"1 of 2 cells(?s:.*)APTUNE_NOWHERE(?s:.*)in cell"):
        grid("[{model: [toy, far]}]", "model.architectures.far=${APTUNE_NOWHERE}/model")


FAIR = ("training.choose_best=true", "data.holdout_rows=100")


def test_a_search_tries_every_value_of_every_cell() -> None:
    rates = "search: {training.learning_rate: [0.001, 0.002]}"
    cells = grid(f"[{{arm: [ft, lora], seed: [1, 2], {rates}}}]", *FAIR)
    assert len(cells) == 8
    tried = {(c.config.arm, c.config.training.seed, c.config.training.learning_rate) for c in cells}
    assert len(tried) == 8
    for cell in cells:
        assert cell.config.orchestration.searched == ("training.learning_rate",)
        alone = config_with(*FAIR, *cell.overrides)
        assert run_id(alone, "data", "code") == run_id(cell.config, "data", "code")
        assert cell.keys["training.learning_rate"] in {"0.001", "0.002"}


def test_what_a_search_calls_itself_is_no_part_of_the_identity() -> None:
    rate = "training.learning_rate=0.002"
    assert id_of(rate) == id_of(rate, "orchestration.searched=[training.learning_rate]")


def test_a_teacher_is_part_of_the_identity() -> None:
    config = config_with()
    ids = {run_id(config, "data", "code", teacher) for teacher in (None, "a", "b")}
    assert len(ids) == 3


def test_cells_with_different_named_teachers_are_both_kept() -> None:
    named = "{ablation: ft_teacher, set: {distillation.teacher_path: /%s/export}}"
    assert len(grid(f"[{named % 'a'}, {named % 'b'}, {named % 'a'}]")) == 2


def grid_id_of(*overrides: str) -> str:
    return grid_id(config_with(*overrides))


def test_a_grid_is_its_folder_and_its_cells_in_whatever_spelling() -> None:
    grid_of = "orchestration.grid="
    identity = grid_id_of(grid_of + "[{arm: [ft, apt], seed: [1, 2]}]")
    assert len(identity) == 16
    assert grid_id_of(grid_of + "[{arm: apt, seed: [2, 1]}, {arm: ft, seed: [1, 2]}]") == identity
    others = [
        grid_id_of(grid_of + "[{arm: [ft, apt], seed: [1, 2, 3]}]"),
        grid_id_of(grid_of + "[{arm: [ft, apt], seed: [1, 2]}]", "name=other"),
        grid_id_of(grid_of + "[{arm: [ft, apt], seed: [1, 2]}]", "orchestration.results_dir=/x"),
        grid_id_of(grid_of + "[{arm: [ft, apt], seed: [1, 2]}]", "training.batch_size=8"),
        grid_id_of(),
    ]
    assert len({identity, *others}) == 6


@pytest.mark.parametrize(
    "override",
    [
        "orchestration.address=10.0.0.1:6379",
        "orchestration.max_concurrent_trials=3",
        "orchestration.max_failures=3",
        "tracking.enabled=false",
    ],
)
def test_how_a_grid_is_run_leaves_its_id_alone(override: str) -> None:
    assert grid_id_of(override) == grid_id_of()


def test_a_grid_has_an_id_where_its_data_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    there = "data.datasets.toy_sentiment.path=${APTUNE_NOWHERE}/x"
    monkeypatch.delenv("APTUNE_NOWHERE", raising=False)
    identity = grid_id_of(there)
    monkeypatch.setenv("APTUNE_NOWHERE", "/data")
    assert grid_id_of(there) == identity


def test_a_bad_cell_is_found_before_it_is_sent() -> None:
    with pytest.raises(ConfigError, match=r"in cell: pruning\.target_sparsity=2 arm=lora"):
        grid_id_of("orchestration.grid=[{arm: lora, set: {pruning.target_sparsity: 2}}]")
