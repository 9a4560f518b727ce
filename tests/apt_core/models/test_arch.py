"""The map of a model: paths, and shapes read off its weights without allocating any."""

import pytest
from torch import nn

from apt_core.models.arch import ArchSpec, BypassSpec, SubBlockSpec, bind, read_structure
from apt_core.models.structure import SubBlock
from tests.reference.base_models import base_model
from tests.reference.structures import roberta_base


def test_roberta_base_is_read_as_the_reference_structure() -> None:
    structure = base_model("roberta").structure
    assert structure == roberta_base()
    assert structure.num_params() == 85_054_464
    assert round(0.4 * structure.num_params()) == 34_021_786


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_block_costs_read_off_the_model_are_the_papers(family: str) -> None:
    loaded = base_model(family)
    structure = loaded.structure
    layers = loaded.model.get_submodule(loaded.model_map.spec.layers)
    assert structure.num_params() == sum(p.numel() for p in layers.parameters()) == 85_054_464
    assert {structure.unit_cost(s) for s in structure.of_kind("attention")} == {196_608}
    assert {structure.unit_cost(s) for s in structure.of_kind("ffn")} == {1_536}
    assert structure.hidden_cost() == 110_592


def gated_spec() -> ArchSpec:
    """A pre-norm family with a gated feed-forward part: nothing that BERT has."""
    return ArchSpec(
        layers="blocks",
        sub_blocks=(
            SubBlockSpec(
                kind="attention",
                name="attn",
                readers=(("q_proj", "q"), ("k_proj", "k"), ("v_proj", "v")),
                writer=("o_proj", "o"),
                residual_input="q",
                bypass=(BypassSpec("q", 0, as_tuple=True),),
            ),
            SubBlockSpec(
                kind="ffn",
                name="mlp",
                readers=(("intermediate_dense", "up"), ("gate", "gate")),
                writer=("output_dense", "down"),
                residual_input="up",
                bypass=(BypassSpec("up", 1),),
                norm="norm",
            ),
        ),
        embeddings=(),
        norms=("final",),
        head_readers=(),
        head=(),
        norm_params_per_dim=1,
    )


def gated_model() -> nn.Module:
    """Hidden size 6, 5 heads of 2 channels, 7 neurons; only q and gate have a bias."""
    layers = [
        nn.ModuleDict(
            {
                "q": nn.Linear(6, 10),
                "k": nn.Linear(6, 10, bias=False),
                "v": nn.Linear(6, 10, bias=False),
                "o": nn.Linear(10, 6, bias=False),
                "up": nn.Linear(6, 7, bias=False),
                "gate": nn.Linear(6, 7),
                "down": nn.Linear(7, 6),
            }
        )
        for _ in range(2)
    ]
    model = nn.Module()
    model.blocks = nn.ModuleList(layers)
    return model


def test_a_family_with_gates_and_few_biases_is_counted_exactly() -> None:
    model = gated_model()
    structure = read_structure(model, bind(gated_spec(), model, head_dim=2))
    assert structure.hidden_size == 6
    assert structure.sub_blocks[:2] == (
        # 4 matrices of 2 channels; a bias on q alone; nothing outside the units.
        SubBlock("blocks.0.attn", "attention", 5, 2, 8, 2, 0),
        # 3 matrices; a bias on the gate; outside the units the bias of down and a norm weight.
        SubBlock("blocks.0.mlp", "ffn", 7, 1, 3, 1, 2),
    )
    norm_weights = 2 * 6
    assert structure.num_params() == sum(p.numel() for p in model.parameters()) + norm_weights


def test_every_path_is_spelled_out_layer_by_layer() -> None:
    model = gated_model()
    model_map = bind(gated_spec(), model, head_dim=2)
    assert model_map.layers == ("blocks.0", "blocks.1")
    attention, ffn = model_map.sub_blocks[2:]
    assert (attention.name, attention.layer, attention.unit_width) == ("blocks.1.attn", 1, 2)
    assert attention.projections == (
        ("q_proj", "blocks.1.q"),
        ("k_proj", "blocks.1.k"),
        ("v_proj", "blocks.1.v"),
        ("o_proj", "blocks.1.o"),
    )
    assert attention.residual_input == "blocks.1.q"
    assert attention.bypass == (BypassSpec("blocks.1.q", 0, as_tuple=True),)
    assert attention.norm is None
    assert (ffn.unit_width, ffn.norm) == (1, "blocks.1.norm")
    assert ffn.bypass == (BypassSpec("blocks.1.up", 1),)


def test_sites_owners_and_norms_are_found() -> None:
    model = gated_model()
    model_map = bind(gated_spec(), model, head_dim=2)
    roles = frozenset({"v_proj", "output_dense"})
    assert model_map.sites(roles) == ("blocks.0.v", "blocks.0.down", "blocks.1.v", "blocks.1.down")
    assert [model_map.owner_of(site) for site in model_map.sites(roles)] == [
        "blocks.0.attn",
        "blocks.0.mlp",
        "blocks.1.attn",
        "blocks.1.mlp",
    ]
    assert model_map.norms() == ("final", "blocks.0.norm", "blocks.1.norm")
    with pytest.raises(KeyError, match=r"blocks\.2\.v"):
        model_map.owner_of("blocks.2.v")
