from pathlib import Path

import pytest

from apt_core.errors import DataError
from jobs.ui import ui


def test_a_folder_without_a_database_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no mlflow\.db inside"):
        ui(tmp_path)
