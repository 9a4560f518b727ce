"""Made-up surgeries and structures, as a run records them."""

from collections.abc import Sequence
from random import Random
from typing import Any

LAYERS, HEADS, NEURONS, HIDDEN, RANK = 6, 12, 3072, 768, 8
PROJECTIONS = ("attention.self.query", "attention.self.value", "intermediate.dense")


def make_structure(shape: dict[str, Any]) -> dict[str, Any]:
    """The structure of a model with this shape, as `Structure.to_json` writes it."""
    sub_blocks = []
    for layer in range(LAYERS):
        path = f"roberta.encoder.layer.{layer}"
        heads = {
            "name": f"{path}.attention",
            "kind": "attention",
            "num_units": shape["heads"][layer],
        }
        neurons = {"name": path, "kind": "ffn", "num_units": shape["neurons"][layer]}
        sub_blocks += [heads, neurons]
    return {"hidden_size": shape["hidden_size"], "sub_blocks": sub_blocks, "ranks": shape["ranks"]}


def make_surgeries(
    name: str, steps: Sequence[int], reached: float, *, grows: bool
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Entries that lead evenly to a sparsity, and the last shape; the same name, the same numbers.

    The first layer keeps most; the last loses all its heads, and its query and value with them.
    """
    noise = Random(name)
    shape = _shape(0.0, RANK, noise)
    entries = []
    for number, step in enumerate(steps, start=1):
        before, share = shape, number / len(steps)
        shape = _shape(reached * share, RANK * (1 + number if grows else 1), noise)
        entry = {"step": step, "seconds": 0.25, "sparsity": reached * share, **shape}
        entry |= {"before": before, "pruned": reached > 0, "grown": 18 if grows else 0}
        entry |= {"teacher_changed": number == 1, "has_teacher": number < len(steps)}
        entries.append(entry | ({"border": _border(before, shape, noise)} if reached else {}))
    return entries, shape


def _shape(removed: float, rank: int, noise: Random) -> dict[str, Any]:
    def left(count: int) -> list[int]:
        # Layer l loses (0.5 + l / (LAYERS - 1)) times the mean.
        lost = [removed * (0.5 + layer / (LAYERS - 1)) for layer in range(LAYERS)]
        return [round(count * max(1 - share, 0)) for share in lost]

    heads = left(HEADS)
    if removed > 0.55:
        heads[-1] = 0
    ranks = {
        f"roberta.encoder.layer.{layer}.{projection}": rank + noise.randint(0, 2)
        for layer in range(LAYERS)
        for projection in PROJECTIONS
        if heads[layer] or projection == "intermediate.dense"
    }
    hidden_size = round(HIDDEN * (1 - removed / 2))
    return {"hidden_size": hidden_size, "heads": heads, "neurons": left(NEURONS), "ranks": ranks}


def _border(before: dict[str, Any], after: dict[str, Any], noise: Random) -> dict[str, Any]:
    counts = {
        "head": (sum(before["heads"]), sum(after["heads"]), "roberta.encoder.layer.5.attention"),
        "neuron": (sum(before["neurons"]), sum(after["neurons"]), "roberta.encoder.layer.5"),
        "hidden_dim": (before["hidden_size"], after["hidden_size"], "hidden"),
    }
    return {kind: _kind(*count, noise) for kind, count in counts.items()}


def _kind(num: int, num_kept: int, group: str, noise: Random) -> dict[str, Any]:
    scale = noise.uniform(1, 2) * 1e-6
    border = scale * (1 - num_kept / num)

    def block(index: int, density: float) -> dict[str, Any]:
        return {"group": group, "index": index, "salience": 1e5 * density, "density": density}

    return {
        "num": num,
        "num_kept": num_kept,
        "quantiles": [scale * q for q in (0.0, 0.01, 0.1, 0.5, 2.0, 9.0, 50.0)],
        "last_kept": [block(3, border * 1.01), block(4, border * 1.02)],
        "first_cut": [block(7, border * 0.99), block(1, border * 0.98)] if num_kept < num else [],
    }
