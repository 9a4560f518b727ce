"""What a run removed and where its ranks went, layer by layer, from its record (PURE)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apt_core.report import RunReport

KINDS = ("head", "neuron", "hidden_dim")
KIND_NAMES = {"head": "heads", "neuron": "neurons", "hidden_dim": "hidden dimensions"}
_SITE = re.compile(r"(?P<stack>.*?)\.(?P<layer>\d+)\.(?P<rest>.*)")


@dataclass(frozen=True)
class ShapeHistory:
    """What was left of every sub-block after every cut."""

    moments: tuple[str, ...]
    """``start``, where the record holds it, and the steps of the cuts."""
    heads: tuple[tuple[int, ...], ...]
    """Of every attention sub-block, in model order, at every moment."""
    neurons: tuple[tuple[int, ...], ...]
    hidden_sizes: tuple[int, ...]
    attention_names: tuple[str, ...]
    ffn_names: tuple[str, ...]


@dataclass(frozen=True)
class RankMap:
    """The rank of every adapter at the end: layers by adapted projections."""

    layers: tuple[str, ...]
    sites: tuple[str, ...]
    ranks: tuple[tuple[int | None, ...], ...]
    """By layer; None: there is no adapter, or not any more."""
    initial: tuple[tuple[int | None, ...], ...]
    """The same before the first surgery; None also where that is not recorded."""


def cuts_of(run: RunReport) -> list[Mapping[str, Any]]:
    """The surgeries that removed blocks."""
    return [surgery for surgery in run.surgeries if surgery.get("pruned")]


def shape_history(run: RunReport) -> ShapeHistory | None:
    """Heads, neurons and hidden size before the first cut and after each.

    Args:
        run: A finished run.

    Returns:
        The history; None if nothing was removed, or if the record has no layers.
    """
    cuts = [cut for cut in cuts_of(run) if "heads" in cut]
    if not cuts:
        return None
    shapes = [(f"{cut['step']}", cut) for cut in cuts]
    if "before" in cuts[0]:
        shapes.insert(0, ("start", cuts[0]["before"]))
    names = {kind: _sub_block_names(run, kind) for kind in ("attention", "ffn")}
    return ShapeHistory(
        moments=tuple(moment for moment, _ in shapes),
        heads=_by_layer([shape["heads"] for _, shape in shapes]),
        neurons=_by_layer([shape["neurons"] for _, shape in shapes]),
        hidden_sizes=tuple(shape["hidden_size"] for _, shape in shapes),
        attention_names=names["attention"] or _numbers(cuts[0]["heads"]),
        ffn_names=names["ffn"] or _numbers(cuts[0]["neurons"]),
    )


def _by_layer(moments: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(zip(*moments, strict=True))


def _numbers(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(map(str, range(len(values))))


def _sub_block_names(run: RunReport, kind: str) -> tuple[str, ...]:
    sub_blocks = run.structure.get("sub_blocks", ())
    return short_names([s["name"] for s in sub_blocks if s["kind"] == kind])


def short_names(paths: Sequence[str]) -> tuple[str, ...]:
    """Module paths without what they share: ``a.0.b``, ``a.1.b`` become ``0``, ``1``.

    Args:
        paths: Module paths.

    Returns:
        A name for each; the whole paths where they differ in length or nothing differs.
    """
    parts = [path.split(".") for path in paths]
    if len({len(part) for part in parts}) != 1:
        return tuple(paths)
    differing = [i for i, words in enumerate(zip(*parts, strict=True)) if len(set(words)) > 1]
    names = tuple(" ".join(part[i] for i in differing) for part in parts)
    return names if differing else tuple(paths)


def rank_map(run: RunReport) -> RankMap | None:
    """The final rank of every adapter that the run ever had.

    Args:
        run: A finished run.

    Returns:
        The map; None for runs without adapters.
    """
    final: Mapping[str, int] = run.structure.get("ranks", {})
    before = run.surgeries[0].get("before", {}) if run.surgeries else {}
    initial: Mapping[str, int] = before.get("ranks", {})
    placed = {site: _place(site) for site in dict.fromkeys([*initial, *final])}
    if not placed:
        return None
    layers = sorted({layer for layer, _ in placed.values()})
    names = tuple(dict.fromkeys(name for _, name in placed.values()))

    def as_map(ranks: Mapping[str, int]) -> tuple[tuple[int | None, ...], ...]:
        by_place = {place: ranks.get(site) or None for site, place in placed.items()}
        return tuple(tuple(by_place.get((layer, name)) for name in names) for layer in layers)

    return RankMap(_layer_names(layers), names, as_map(final), as_map(initial))


def _place(site: str) -> tuple[tuple[str, int], str]:
    """(stack, layer) and the projection's name within the layer."""
    found = _SITE.fullmatch(site)
    if found is None:
        return ("", 0), site
    return (found["stack"], int(found["layer"])), ".".join(found["rest"].split(".")[-2:])


def _layer_names(layers: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    """The number alone where there is one stack, as ``encoder 3`` where there are more."""
    if len({stack for stack, _ in layers}) == 1:
        return tuple(str(number) for _, number in layers)
    return short_names([f"{stack}.{number}" for stack, number in layers])
