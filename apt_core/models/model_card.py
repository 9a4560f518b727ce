"""The page that travels with an export: what it is, what it scores, how to load it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from apt_core.models.structure import Structure

CARD = "README.md"
PIPELINES: Mapping[str, str] = {
    "sequence_classification": "text-classification",
    "question_answering": "question-answering",
    "seq2seq_lm": "text2text-generation",
    "causal_lm": "text-generation",
}
ALONE = """\
```python
from transformers import AutoTokenizer, {auto}
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
model = {auto}.from_pretrained(FOLDER{trust})
```
"""
RECIPES: Mapping[str, str] = {
    "hf": "Without aptune, with the code that lies in this folder (read it first):\n\n"
    + ALONE
    + "\nWith aptune installed no code from here is run: `import apt_core.models.auto` and leave "
    "`trust_remote_code` out.\nText is generated with a dynamic cache; "
    '`cache_implementation="static"` does not work where a layer has no heads.\n',
    "uniform": "No code is needed: the layers are padded with zeros to one shape.\n\n" + ALONE,
    "onnx": "```python\nimport onnxruntime\n"
    'session = onnxruntime.InferenceSession("model.onnx")\n'
    'logits = session.run(None, {{"input_ids": ids, "attention_mask": mask}})[0]  '
    "# int64, any rows and tokens\n```\n",
}


@dataclass(frozen=True)
class CardFacts:
    """What the page says."""

    to: str
    head_kind: str
    auto_class: str
    title: str
    base_model: str
    is_on_hub: bool
    dataset: str
    results: Mapping[str, float | str]
    """Name -> value, in the order of the page."""
    check: str
    """One sentence on how it was verified."""
    speed: Sequence[tuple[int, float, float]]
    """(batch size, ms, ms of the unpruned model)."""
    device: str
    warnings: Sequence[str]


def write_card(folder: Path, facts: CardFacts, structure: Structure) -> Path:
    """Write ``README.md``.

    Args:
        folder: the export.
        facts: what it says.
        structure: the shape after pruning.

    Returns:
        The file.
    """
    parts = (
        _front_matter(facts),
        f"# {facts.title}\n\nPruned and fine-tuned with aptune, which implements Adaptive Pruning "
        "and Tuning (arXiv 2401.12200).\n",
        *(f"> **Warning:** {warning}\n" for warning in facts.warnings),
        "## Load\n\n" + _recipe(facts),
        "## Results\n\n" + _table(("", ""), [(n, _text(v)) for n, v in facts.results.items()]),
        facts.check + "\n",
        _speed(facts),
        "## Structure\n\n" + _structure(structure),
        f"## Data\n\nTrained and evaluated on `{facts.dataset}`.\n",
        f"## Licence\n\nThe weights derive from `{facts.base_model}` and `{facts.dataset}`: their "
        "licences apply, and must be checked before this is shared. Code in this folder, where "
        "there is any, is Apache-2.0.\n",
    )
    path = folder / CARD
    path.write_text("\n".join(part for part in parts if part), encoding="utf-8")
    return path


def _front_matter(facts: CardFacts) -> str:
    lines = ["---", f"pipeline_tag: {PIPELINES[facts.head_kind]}", "license: other"]
    if facts.to != "onnx":
        lines.append("library_name: transformers")
    if facts.is_on_hub:
        lines.append(f"base_model: {facts.base_model}")
    return "\n".join([*lines, "tags: [pruning, apt]", "---", ""])


def _recipe(facts: CardFacts) -> str:
    trust = ", trust_remote_code=True" if facts.to == "hf" else ""
    return RECIPES[facts.to].format(auto=facts.auto_class, trust=trust)


def _speed(facts: CardFacts) -> str:
    rows = [
        (str(size), f"{own:.2f}", f"{dense:.2f}", f"{dense / own:.2f}")
        for size, own, dense in facts.speed
    ]
    heading = ("batch size", "ms", "ms of the unpruned model", "speed-up")
    return f"One forward pass on {facts.device}, real batches:\n\n" + _table(heading, rows)


def _structure(structure: Structure) -> str:
    rows = [
        (s.name, "heads" if s.kind == "attention" else "neurons", str(s.num_heads or s.num_units))
        for s in structure.sub_blocks
    ]
    return f"Hidden size {structure.hidden_size}.\n\n" + _table(("part", "", "left"), rows)


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
