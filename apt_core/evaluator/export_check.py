"""Is an export what it should be: does it give the same logits, reloaded in a fresh process?"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from apt_core.errors import ExportError
from apt_core.evaluator import fresh_load

TOLERANCES: Mapping[str, float] = {"hf": 1e-5, "uniform": 1e-5, "onnx": 1e-4}
"""Largest difference of two logits that is allowed, per unit of the largest one (at least 1)."""
LAST_WORDS = 1500
"""Characters of a failed process's output that are shown."""


@dataclass(frozen=True)
class Comparison:
    """How far the logits of two models are apart."""

    max_difference: float
    max_logit: float
    tolerance: float
    num_rows: int

    @property
    def limit(self) -> float:
        """The largest difference that counts as equal, in the unit of the logits."""
        return self.tolerance * max(1.0, self.max_logit)

    @property
    def is_equal(self) -> bool:
        """Whether the two models answer alike."""
        return self.max_difference <= self.limit


def check_export(
    model: nn.Module,
    batches: Sequence[Mapping[str, Tensor]],
    folder: Path,
    *,
    to: str,
    auto_class: str,
) -> Comparison:
    """Reload an export where aptune is not, and compare its logits with the model's.

    Args:
        model: the merged, sliced model, on the CPU.
        batches: inputs of real batches, on the CPU.
        folder: the export.
        to: its format.
        auto_class: the class of transformers that loads it.

    Returns:
        The comparison; nothing has been refused yet.

    Raises:
        ExportError: it cannot be loaded, or its answers have another shape.
    """
    with torch.no_grad():
        expected = [fresh_load.answer_of(model(**batch)) for batch in batches]
    given = answers_of_fresh_process(folder, batches, to=to, auto_class=auto_class)
    if [tensor.shape for tensor in given] != [tensor.shape for tensor in expected]:
        raise ExportError(f"{folder}: the reloaded model's logits have another shape")
    pairs = list(zip(given, expected, strict=True))
    # A NaN must not pass for a small difference.
    differences = [torch.nan_to_num((g - e).abs(), nan=float("inf")).max() for g, e in pairs]
    return Comparison(
        max_difference=float(max(differences)),
        max_logit=float(max(tensor.abs().max() for tensor in expected)),
        tolerance=TOLERANCES[to],
        num_rows=sum(len(batch["input_ids"]) for batch in batches),
    )


def answers_of_fresh_process(
    folder: Path, batches: Sequence[Mapping[str, Tensor]], *, to: str, auto_class: str
) -> list[Tensor]:
    """What the exported model answers in an isolated process; arguments as of `check_export`."""
    with tempfile.TemporaryDirectory(prefix="aptune-check-") as name:
        job = Path(name)
        description = {"format": to, "folder": str(folder.resolve()), "auto_class": auto_class}
        (job / fresh_load.JOB).write_text(json.dumps(description), encoding="utf-8")
        tensors = {f"{i}.{n}": t for i, batch in enumerate(batches) for n, t in batch.items()}
        save_file({n: t.contiguous().clone() for n, t in tensors.items()}, job / fresh_load.INPUTS)
        done = subprocess.run(
            [sys.executable, "-I", fresh_load.__file__, str(job)],
            cwd=job,
            env=_environment(job),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            words = (done.stdout + done.stderr).strip()[-LAST_WORDS:]
            raise ExportError(f"{folder} cannot be loaded in a fresh process:\n{words}")
        answers = load_file(job / fresh_load.OUTPUTS)
    return [answers[str(i)] for i in range(len(batches))]


def _environment(job: Path) -> dict[str, str]:
    """Offline, and with a cache of its own for the code that comes with an export."""
    own = {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(job / "modules")}
    return {**os.environ, **own}
