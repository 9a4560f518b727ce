"""The cells of {A_P} x {A_T} x {D_S} in a sweep, and their table of effects (PURE)."""

from collections.abc import Mapping, Sequence

from apt_core.config.arms import Ablation, arm_switches
from orchestrator.reports.factorial import Effect, Levels, all_levels, common_seeds, effects
from orchestrator.reports.grid import Cell, Grid, Heading, slug
from orchestrator.reports.rows import Row, TaskTable, label_of
from orchestrator.reports.wording import (
    digits_of,
    metric_scale,
    metric_unit,
    number_with_spread,
    with_n,
)

FACTORS = ("A_P", "A_T", "D_S")
"""Pruning, rank growth, self-distillation."""
_DESIGN: tuple[Ablation, ...] = (
    "full",
    "w/o_Ap",
    "w/o_AT",
    "w/o_Ds",
    "w/o_Ap+AT",
    "w/o_Ap+Ds",
    "w/o_AT+Ds",
    "w/o_Ap+AT+Ds",
)
_HEADINGS = (
    Heading("cell or effect", "which parts are on; effects of turning one on", is_number=False),
    Heading("value", "of a cell the metric, of an effect the difference; 95% interval over seeds"),
    Heading("reading", "whether the interval of an effect leaves out zero", is_number=False),
)


def factorial_grids(tables: Sequence[TaskTable]) -> tuple[Grid, ...]:
    """A table of effects for every complete design.

    Args:
        tables: The sweep's tables.

    Returns:
        One per model, dataset, target sparsity and variant that has rows for all eight cells.
    """
    grids = []
    for table in tables:
        full = [r for r in table.rows if (r.key.arm, r.key.ablation) == ("apt", "full")]
        for row in full:
            design = _design_of(row, table.rows)
            if design is not None:
                grids.append(_grid(table, row, design))
    return tuple(grids)


def levels_of(ablation: Ablation) -> Levels:
    """Which of the three parts an ablation leaves on."""
    switches = arm_switches("apt", ablation)
    return (switches.prune, switches.grow_ranks, switches.distill)


def _design_of(full: Row, rows: Sequence[Row]) -> dict[Levels, Row] | None:
    """The eight cells around a full APT row; those that prune nothing have no target sparsity."""
    found = {}
    for ablation in _DESIGN:
        levels = levels_of(ablation)
        target = full.key.target_sparsity if levels[0] else 0.0
        fitting = [
            row
            for row in rows
            if (row.key.arm, row.key.ablation, row.key.target_sparsity, row.key.variant)
            == ("apt", ablation, target, full.key.variant)
        ]
        if len(fitting) != 1:
            return None
        found[levels] = fitting[0]
    return found


def _grid(table: TaskTable, full: Row, design: Mapping[Levels, Row]) -> Grid:
    scale, digits = metric_scale(table.metric_name), digits_of(table.metric_name)
    responses = {
        levels: {seed: scale * value for seed, value in row.metric_by_seed.items()}
        for levels, row in design.items()
    }
    ordered = all_levels(len(FACTORS))
    cells = [_cell_row(levels, design[levels], scale, digits) for levels in ordered]
    run_ids = tuple(run_id for levels in ordered for run_id in design[levels].run_ids)
    missing = [label_of(row.key) for row in design.values() if not row.runs]
    found = [
        _effect_row(effect, digits, run_ids, missing) for effect in effects(FACTORS, responses)
    ]
    unit = metric_unit(table.metric_name)
    title = f"{table.title}, {label_of(full.key)}: {unit} by what is on"
    rows = [*cells, *found]
    num_seeds = len(common_seeds(responses))
    note = (
        f"Effects over the {num_seeds} seeds that ran in all eight cells. A main effect is the "
        "mean with the part on minus the mean with it off; an interaction of two is half of how "
        "much more the one does while the other is on. Nothing is corrected for seven effects."
    )
    rows[len(cells)] = (_noted(rows[len(cells)][0], note), *rows[len(cells)][1:])
    return Grid(_HEADINGS, tuple(rows), slug(f"factorial-{full.anchor}"), title)


def _noted(cell: Cell, note: str) -> Cell:
    return Cell(cell.text, notes=(note,))


def _cell_row(levels: Levels, row: Row, scale: float, digits: int) -> tuple[Cell, ...]:
    on = [name for name, is_on in zip(FACTORS, levels, strict=True) if is_on]
    label = Cell(f"{' + '.join(on) or 'none of the three'} ({label_of(row.key)})")
    stat = row.metric.scaled(scale)
    if stat.mean is None:
        value = Cell(row.state or "not run", is_missing=True, anchor=row.anchor)
    else:
        text = with_n(number_with_spread(stat, digits), stat)
        value = Cell(text, stat.mean, stat=stat, run_ids=row.run_ids, anchor=row.anchor)
    return (label, value, Cell("cell"))


def _effect_row(
    effect: Effect, digits: int, run_ids: tuple[str, ...], missing: Sequence[str]
) -> tuple[Cell, ...]:
    kind = "interaction" if effect.is_interaction else "main effect"
    label = Cell(f"{kind} {' x '.join(effect.factors)}")
    stat = effect.values
    if stat.mean is None:
        why = f"not run: {', '.join(missing)}" if missing else "no common seed"
        return (label, Cell(why, is_missing=True), Cell("unknown"))
    half = stat.half_width_95
    spread = "" if half is None else f" \u00b1 {half:.{digits}f}"
    text = with_n(f"{stat.mean:+.{digits}f}{spread}", stat)
    reading = effect.verdict if stat.n > 1 else "one seed, no claim"
    return (label, Cell(text, stat.mean, stat=stat, run_ids=run_ids), Cell(reading))
