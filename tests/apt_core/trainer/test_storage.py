import errno

import pytest
from safetensors import SafetensorError

from apt_core.errors import CheckpointError
from apt_core.trainer.storage import refusals_told


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("No space left on device")],
    ids=["the system's", "safetensors'"],
)
def test_a_refusal_says_where_what_and_what_to_do(tmp_path, error):
    told = "step 7 cannot be written: .*No space left.* free space .* same command continues"
    with pytest.raises(CheckpointError, match=told) as raised, refusals_told(tmp_path, 7):
        raise error
    assert str(raised.value).startswith(str(tmp_path))
    assert raised.value.__cause__ is error


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(ZeroDivisionError), refusals_told(tmp_path, 7):
        raise ZeroDivisionError
