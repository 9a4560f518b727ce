"""Check a dataset before anything is started: no torch, no download, well under a second."""

import hashlib
from dataclasses import dataclass

from apt_core.data.checks import check_split
from apt_core.data.sources import read_split, split_fingerprint
from apt_core.data.tasks import HOLDOUT, DatasetFields, TaskSpec


@dataclass(frozen=True)
class DatasetFacts:
    """What is known about a dataset before training.

    Rows only: how many windows question answering makes of them depends on the tokenizer, which is
    not loaded yet.
    """

    num_train_rows: int | None
    """Rows of the training split; None for a hub dataset, which is fetched when training starts."""
    num_eval_rows: int | None
    """Rows of the main evaluation split; None also where that is held out of the training split."""
    fingerprint: str
    """SHA-256 of the content of all splits, or of a hub dataset's address and revision."""
    num_misplaced: int = 0
    """Rows, over all splits, with an answer that is not in its context at its place. A model that
    points at answers is not trained on them."""


def check_dataset(spec: DatasetFields | TaskSpec, name: str = "") -> DatasetFacts:
    """Read the splits of an embedded or local dataset and check every row.

    Args:
        spec: The dataset section of the config, or a task.
        name: Name of the dataset in the config, for messages; a task brings its own.

    Returns:
        Row counts and fingerprint; for a hub dataset the fingerprint alone.

    Raises:
        DataError: When the dataset cannot be read or does not hold what its task needs.
    """
    task = spec if isinstance(spec, TaskSpec) else TaskSpec.of(name, spec)
    splits = [split for split in (task.train_split, *task.eval_splits) if split != HOLDOUT]
    fingerprint = hashlib.sha256()
    for split in splits:
        fingerprint.update(split_fingerprint(task, split).encode())
    if task.embedded_name is None and task.folder is None:
        return DatasetFacts(None, None, fingerprint.hexdigest())
    found = {split: _checked(task, split) for split in splits}
    return DatasetFacts(
        num_train_rows=found[task.train_split][0],
        num_eval_rows=found.get(task.eval_split, (None, 0))[0],
        fingerprint=fingerprint.hexdigest(),
        num_misplaced=sum(num_misplaced for _, num_misplaced in found.values()),
    )


def _checked(task: TaskSpec, split: str) -> tuple[int, int]:
    """Rows of a split, and those of them with a misplaced answer."""
    table = read_split(task, split)
    num_misplaced = check_split(table, task, split)
    return int(table.num_rows), num_misplaced
