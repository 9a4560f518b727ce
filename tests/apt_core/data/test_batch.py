"""What of a batch goes to the model."""

import torch

from apt_core.data.batch import NOT_INPUTS, model_inputs


def test_bookkeeping_is_no_input() -> None:
    batch = {name: torch.ones(1) for name in ("input_ids", "labels", *NOT_INPUTS)}
    assert model_inputs(batch).keys() == {"input_ids", "labels"}
