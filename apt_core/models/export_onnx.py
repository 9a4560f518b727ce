"""The format ``onnx``: one graph with any number of rows and tokens, for onnxruntime."""

import logging
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from apt_core.errors import ConfigError, UnsupportedModelError
from apt_core.models.spec import GENERATIVE, HeadKind

MODEL = "model.onnx"
LIBRARIES = ("onnxruntime", "onnxscript")
OUTPUTS: Mapping[HeadKind, tuple[str, ...]] = {
    "sequence_classification": ("logits",),
    "question_answering": ("start_logits", "end_logits"),
}
"""What the graph gives, in order."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class _Plain(nn.Module):
    """A task model that gives a tuple of tensors."""

    def __init__(self, model: nn.Module, names: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names
        self.outputs = outputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.names, tensors, strict=True))
        answers = self.model(**given)
        return tuple(getattr(answers, name) for name in self.outputs)


def check_onnx(head_kind: HeadKind) -> None:
    """Refuse what cannot be exported, before anything is done.

    Args:
        head_kind: what the model predicts.

    Raises:
        ConfigError: a library is missing.
        UnsupportedModelError: the model writes text.
    """
    if head_kind in GENERATIVE:
        raise UnsupportedModelError(
            "--to onnx: models that write text (T5, LLaMA and those like it) are not exported: a "
            "useful graph carries a key/value cache from step to step, and layers that kept "
            "different heads have caches of different shapes. Use --to hf or --to uniform"
        )
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"--to onnx: {' and '.join(missing)} is not installed; pip install 'aptune[onnx]'"
        )


@torch.no_grad()
def write_onnx(
    model: nn.Module, head_kind: HeadKind, batch: Mapping[str, Tensor], folder: Path
) -> Path:
    """Write an encoder as ``model.onnx``.

    Args:
        model: a task model in evaluation mode, on the CPU.
        head_kind: what it predicts.
        batch: inputs of at least two rows; their sizes are not fixed in the graph.
        folder: where to; made when missing.

    Returns:
        The file.
    """
    names = tuple(name for name in INPUTS if name in batch)
    folder.mkdir(parents=True, exist_ok=True)
    rows, length = torch.export.Dim("rows"), torch.export.Dim("tokens")
    graph: Any = _quiet_export(
        _Plain(model, names, OUTPUTS[head_kind]).eval(),
        tuple(batch[name] for name in names),
        input_names=list(names),
        output_names=list(OUTPUTS[head_kind]),
        dynamic_shapes={"tensors": tuple({0: rows, 1: length} for _ in names)},
        dynamo=True,
        verbose=False,
    )
    graph.save(str(folder / MODEL), external_data=False)
    return folder / MODEL


def _quiet_export(*args: Any, **kwargs: Any) -> Any:
    """Export without the exporter's notes about versions and passes."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.onnx.export(*args, **kwargs)
    finally:
        logging.disable(previous)
