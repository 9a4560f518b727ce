"""Loads an exported model in a process of its own and answers batches, as users without aptune do.

``python -I fresh_load.py JOB`` reads ``job.json`` (``format``, ``folder``, ``auto_class``) and
``inputs.safetensors`` in the folder JOB and writes ``outputs.safetensors`` there. Needs torch,
safetensors and transformers, or onnxruntime; aptune is locked out.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

JOB, INPUTS, OUTPUTS = "job.json", "inputs.safetensors", "outputs.safetensors"
LOCKED_OUT = ("apt_core", "orchestrator", "jobs")
Batch = Mapping[str, Any]


def answer_of(outputs: Any) -> Any:
    """What a task model predicts, as one tensor: logits; of spans, both ends one after the other.

    Args:
        outputs: what a model of transformers returned.

    Returns:
        The tensor.
    """
    import torch

    if "start_logits" in outputs:
        return torch.cat([outputs["start_logits"], outputs["end_logits"]])
    return outputs["logits"]


def load_for_answers(job: Mapping[str, str]) -> Callable[[Batch], Any]:
    """A function from a batch to the answers of the exported model.

    Args:
        job: ``format`` (``hf``, ``uniform`` or ``onnx``), ``folder``, ``auto_class``.

    Returns:
        The function.
    """
    if job["format"] == "onnx":
        return _load_onnx(Path(job["folder"]))
    import transformers

    # The code beside an ``hf`` export is the copy that aptune has just written there.
    trust = {"trust_remote_code": True} if job["format"] == "hf" else {}
    auto = getattr(transformers, job["auto_class"])
    model = auto.from_pretrained(job["folder"], local_files_only=True, **trust).eval()
    return lambda batch: answer_of(model(**batch))


def _load_onnx(folder: Path) -> Callable[[Batch], Any]:
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait by spinning would slow down whatever is timed beside this session.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    names = [given.name for given in session.get_inputs()]

    def answer(batch: Batch) -> Any:
        arrays = session.run(None, {name: batch[name].numpy() for name in names})
        return torch.cat([torch.from_numpy(array) for array in arrays])

    return answer


def split_batches(tensors: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Batches from tensors that are named ``<number of the batch>.<input>``."""
    batches: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        number, _, leaf = name.partition(".")
        batches.setdefault(int(number), {})[leaf] = tensor
    return [batches[number] for number in sorted(batches)]


def main(folder: Path) -> None:
    """Answer the batches of a job.

    Args:
        folder: where the job is.
    """
    import torch
    from safetensors.torch import load_file, save_file

    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    answer = load_for_answers(job)
    with torch.no_grad():
        answers = [answer(batch) for batch in split_batches(load_file(folder / INPUTS))]
    tensors = {str(number): tensor.contiguous() for number, tensor in enumerate(answers)}
    save_file(tensors, folder / OUTPUTS)


if __name__ == "__main__":
    for _name in LOCKED_OUT:
        sys.modules[_name] = None  # type: ignore[assignment]
    main(Path(sys.argv[1]))
