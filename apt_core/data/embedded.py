"""What comes with the package: the toy model's files, and the toy datasets as Parquet files."""

import os
import tempfile
from importlib.resources import files
from pathlib import Path

from apt_core.data.toy import TOY_TASKS, toy_rows
from apt_core.errors import DataError, UnsupportedModelError


def embedded_model_path(name: str) -> Path:
    """The folder of a packaged model, as `from_pretrained` takes it.

    Args:
        name: What follows ``embedded:``, such as ``toy-roberta``.

    Returns:
        A folder with config, weights and tokenizer.

    Raises:
        UnsupportedModelError: When no such model is packaged.
    """
    assets = Path(str(files("apt_core.data"))) / "assets"
    folder = assets / name
    if (folder / "config.json").is_file():
        return folder
    known = ", ".join(sorted(path.parent.name for path in assets.glob("*/config.json")))
    raise UnsupportedModelError(
        f'model.architectures: no model is embedded under this name (got "embedded:{name}"); '
        f"embedded models: {known}"
    )


def check_embedded_dataset(name: str, field: str = "data.datasets") -> None:
    """Refuse a dataset that is not embedded.

    Args:
        name: What follows ``embedded:``.
        field: Field path for the message.

    Raises:
        DataError: When there is no such dataset.
    """
    if name not in TOY_TASKS:
        raise DataError(
            f'{field}.path: no dataset is embedded under this name (got "embedded:{name}"); '
            f"embedded datasets: {', '.join(sorted(TOY_TASKS))}"
        )


def embedded_dataset_path(name: str, cache_dir: Path) -> Path:
    """Write an embedded dataset as Parquet files, ``SPLIT.parquet``, unless they are there.

    Training does not need the files; they are for looking at, and for other programs.

    Args:
        name: What follows ``embedded:``, such as ``sentiment``.
        cache_dir: Folder under which the dataset's folder is made.

    Returns:
        The folder.
    """
    # pyarrow takes a while to import: only when files are asked for.
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_embedded_dataset(name)
    folder = cache_dir / "embedded" / name
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in toy_rows(name).items():
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".tmp", delete=False) as file:
            pq.write_table(pa.Table.from_pylist(rows), file)
        os.replace(file.name, folder / f"{split}.parquet")
    return folder
