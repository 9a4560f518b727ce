"""The paper's tables as printed, read from the packaged data file."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

import yaml

from apt_core.config.builtin_datasets import BUILTIN_DATASETS
from orchestrator.reports.records import Settings

FILE = "data/published.yaml"
NOT_PUBLISHED = "-"
_LAST_PART = "/"


@dataclass(frozen=True)
class PaperColumn:
    """What one column of a table holds."""

    heading: str
    quantity: str
    """metric, average, sparsity, time_to_target, train_time_per_epoch, train_memory, latency or
    inference_memory."""
    dataset: str
    metric: str = ""
    """The metric's name in a run's report; empty: the run's main metric."""
    shown_as: str = "value"
    """value; ratio: over the reference row; inverse: the reference row over this."""


@dataclass(frozen=True)
class PaperRow:
    """Which cell of a sweep a row of the paper corresponds to."""

    label: str
    model: str
    arm: str | None
    """None: no arm of ours does this."""
    sparsity: float
    ablations: tuple[str, ...]
    near: tuple[str, ...]
    """Ablations that come close to the paper's; shown with a note."""
    is_before: bool
    """Benchmarks of the model before it was tuned."""
    values: Mapping[str, str]
    """Heading -> the number as printed; headings without one are left out."""
    notes: Mapping[str, str]
    """Heading -> footnote."""


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper."""

    number: int
    title: str
    source: str
    """Where the paper has it."""
    generic: str
    """Kind of task that may borrow the layout: scored, instruction, or empty for none."""
    is_ablation: bool
    reference_arm: str
    """What ratios are relative to."""
    sparsity: float
    batch_size: int
    columns: tuple[PaperColumn, ...]
    rows: tuple[PaperRow, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the paper ran."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    def borrowed(self, model: str, datasets: tuple[str, ...], sparsity: float) -> "PaperTable":
        """The same layout for another model and other datasets, without any published number.

        Args:
            model: Whose rows stand in it.
            datasets: A column for the main metric of each; the first measures efficiency.
            sparsity: In place of the paper's.

        Returns:
            The layout.
        """
        metrics = [
            PaperColumn(dataset, "metric", dataset)
            for dataset in (datasets if any(c.quantity == "metric" for c in self.columns) else ())
        ]
        others = [
            replace(column, dataset=datasets[0])
            for column in self.columns
            if column.quantity not in {"metric", "average"}
        ]
        rows = [
            replace(
                row,
                model=model,
                sparsity=sparsity if row.sparsity else 0.0,
                values={},
                notes={},
            )
            for row in self.rows
            if row.model == self.models[0]
            and row.sparsity in {0.0, self.sparsity}
            and not row.is_before
        ]
        return replace(self, columns=(*metrics, *others), rows=tuple(rows), sparsity=sparsity)


@dataclass(frozen=True)
class Published:
    """All that is known of the paper's tables."""

    paper: str
    """Authors, title, place."""
    short: str
    tables: tuple[PaperTable, ...]
    general_note: str
    checkpoints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    data: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def model_of(self, name: str, settings: Settings) -> str:
        """The paper's model behind a name of the configuration; the name itself where none is."""
        last = _last_part(settings.get(f"model.architectures.{name}"))
        return next((model for model, known in self.checkpoints.items() if last in known), name)

    def other_setting(self, settings: Settings | None, model: str, dataset: str) -> str:
        """Why a run is not of the paper's setting; empty when it is.

        Args:
            settings: The run's; None: not known.
            model: The paper's model.
            dataset: The paper's dataset.

        Returns:
            A few words.
        """
        if settings is None:
            return "the run's settings are not known"
        name = settings.get("model.model_type")
        checkpoint = _last_part(settings.get(f"model.architectures.{name}"))
        if checkpoint not in self.checkpoints.get(model, ()):
            return f"the model is {checkpoint or 'unknown'}"
        path = settings.get(f"data.datasets.{dataset}.path")
        path = path or BUILTIN_DATASETS.get(dataset, {}).get("path", "")
        known = self.data.get(dataset, ())
        if path not in known and _last_part(path) not in known:
            return f"the data is {_last_part(path) or 'unknown'}"
        cut = [key for key in ("train_rows", "eval_rows") if settings.get(f"data.{key}")]
        return f"data.{cut[0]} leaves rows out" if cut else ""


def _last_part(path: object) -> str:
    return str(path or "").rstrip(_LAST_PART).rsplit(_LAST_PART, 1)[-1]


@cache
def load_published() -> Published:
    """Read the packaged file."""
    text = (resources.files("orchestrator.reports") / FILE).read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    footnotes = data["footnotes"]
    return Published(
        paper=data["paper"],
        short=data["short"],
        tables=tuple(_table(entry, footnotes) for entry in data["tables"]),
        general_note=f"{footnotes['one_seed']} {data['paper']}.",
        checkpoints={name: tuple(known) for name, known in data["checkpoints"].items()},
        data={name: tuple(known) for name, known in data["data"].items()},
    )


def _table(entry: Mapping[str, Any], footnotes: Mapping[str, str]) -> PaperTable:
    columns = tuple(
        PaperColumn(
            heading=column["heading"],
            quantity=column["quantity"],
            dataset=column.get("dataset", entry["dataset"]),
            metric=column.get("metric", ""),
            shown_as=column.get("as", "value"),
        )
        for column in entry["columns"]
    )
    headings = [column.heading for column in columns]
    shared = entry.get("notes", {})
    return PaperTable(
        number=entry["number"],
        title=entry["title"],
        source=entry["source"],
        generic=entry.get("generic", ""),
        is_ablation=entry.get("is_ablation", False),
        reference_arm=entry["relative_to"],
        sparsity=entry["sparsity"],
        batch_size=entry["batch_size"],
        columns=columns,
        rows=tuple(_row(row, headings, shared, footnotes) for row in entry["rows"]),
    )


def _row(
    entry: Mapping[str, Any],
    headings: list[str],
    shared: Mapping[str, str],
    footnotes: Mapping[str, str],
) -> PaperRow:
    values = zip(headings, entry["values"].split(), strict=True)
    return PaperRow(
        label=entry["label"],
        model=entry["model"],
        arm=entry.get("arm"),
        sparsity=entry.get("sparsity", 0.0),
        ablations=tuple(entry.get("ablations", ("full",))),
        near=tuple(entry.get("near", ())),
        is_before=entry.get("before", False),
        values={heading: value for heading, value in values if value != NOT_PUBLISHED},
        notes={
            heading: footnotes[name]
            for heading, name in {**shared, **entry.get("notes", {})}.items()
        },
    )
