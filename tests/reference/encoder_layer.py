"""One encoder layer that is small enough to count by hand."""

from apt_core.bench.flops import HeadLayer, Network
from apt_core.models.structure import Structure, SubBlock

HIDDEN, HEADS, HEAD_DIM, NEURONS = 8, 2, 4, 10


def attention(layer: int = 0) -> SubBlock:
    """2 heads of 4 channels, with biases and a LayerNorm."""
    name = f"layer.{layer}"
    sites = {f"{name}.{site}": HEAD_DIM for site in ("q", "k", "v", "o")}
    return SubBlock(f"{name}.attention", "attention", HEADS, HEAD_DIM, 16, 12, 3, sites=sites)


def ffn(layer: int = 0, *, gated: bool = False) -> SubBlock:
    """10 neurons, with biases and a LayerNorm."""
    name = f"layer.{layer}"
    readers = ("gate", "up") if gated else ("up",)
    sites = {f"{name}.{site}": 1 for site in (*readers, "down")}
    return SubBlock(f"{name}.ffn", "ffn", NEURONS, 1, len(sites), 1, 3, sites=sites)


def encoder(num_layers: int = 1, *, gated: bool = False, rank: int = 2) -> Structure:
    """Layers with branches on q and v."""
    sub_blocks = tuple(s for i in range(num_layers) for s in (attention(i), ffn(i, gated=gated)))
    ranks = {f"layer.{i}.{site}": rank for i in range(num_layers) for site in ("q", "v") if rank}
    return Structure(HIDDEN, sub_blocks, ranks)


def network(num_layers: int = 1, *, rank: int = 2, all_learn: bool = False) -> Network:
    """The layers and a head of 3 classes."""
    head = (HeadLayer(3 * HIDDEN, 1, learns=True),)
    return Network(encoder(num_layers, rank=rank), head, all_learn)
