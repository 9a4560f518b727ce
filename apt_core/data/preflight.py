"""Check a dataset before anything is started: no torch, no download, well under a second."""

import hashlib
from dataclasses import dataclass

from apt_core.data.sources import check_split, read_split, split_fingerprint
from apt_core.data.tasks import DatasetFields, TaskSpec


@dataclass(frozen=True)
class DatasetFacts:
    """What is known about a dataset before training."""

    num_train_rows: int | None
    """None for a hub dataset, which is fetched when training starts."""
    num_eval_rows: int | None
    fingerprint: str
    """SHA-256 of the content of both splits, or of a hub dataset's address and revision."""


def check_dataset(spec: DatasetFields | TaskSpec, name: str = "") -> DatasetFacts:
    """Read both splits of an embedded or local dataset and check every row.

    Args:
        spec: The dataset section of the config, or a task.
        name: Name of the dataset in the config, for messages; a task brings its own.

    Returns:
        Row counts and fingerprint; for a hub dataset the fingerprint alone.

    Raises:
        DataError: When the dataset cannot be read or does not hold what its task needs.
    """
    task = spec if isinstance(spec, TaskSpec) else TaskSpec.of(name, spec)
    splits = (task.train_split, task.eval_split)
    fingerprint = hashlib.sha256()
    for split in splits:
        fingerprint.update(split_fingerprint(task, split).encode())
    if task.embedded_name is None and task.folder is None:
        return DatasetFacts(None, None, fingerprint.hexdigest())
    num_rows = [_count_checked_rows(task, split) for split in splits]
    return DatasetFacts(num_rows[0], num_rows[1], fingerprint.hexdigest())


def _count_checked_rows(task: TaskSpec, split: str) -> int:
    table = read_split(task, split)
    check_split(table, task, split)
    return int(table.num_rows)
