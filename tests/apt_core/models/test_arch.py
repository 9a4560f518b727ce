"""The map of a model: paths, and shapes read off its weights without allocating any."""

import pytest
from torch import nn

from apt_core.models.arch import HeadGeometry, Projection, bind, read_structure
from apt_core.models.spec import ArchSpec, BypassSpec, HeadSpec, StackSpec, SubBlockSpec
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
    layers = loaded.model.get_submodule(f"{family}.encoder.layer")
    assert structure.num_params() == sum(p.numel() for p in layers.parameters()) == 85_054_464
    assert {structure.unit_cost(s) for s in structure.of_kind("attention")} == {196_608}
    assert {structure.unit_cost(s) for s in structure.of_kind("ffn")} == {1_536}
    assert structure.hidden_cost() == 110_592


def gated_spec() -> ArchSpec:
    """A pre-norm family with a gated feed-forward part: nothing that BERT has."""
    layer = (
        SubBlockSpec(
            kind="attention",
            name="attn",
            readers=(("q_proj", "q"), ("k_proj", "k"), ("v_proj", "v")),
            writer=("o_proj", "o"),
            residual_input="q",
            bypass=(BypassSpec("q", gives="input", num_outputs=2),),
        ),
        SubBlockSpec(
            kind="ffn",
            name="mlp",
            readers=(("intermediate_dense", "up"), ("gate", "gate")),
            writer=("output_dense", "down"),
            residual_input="up",
            bypass=(BypassSpec("up", gives="zero", input_position=1),),
            norm="norm",
        ),
    )
    return ArchSpec(
        stacks=(StackSpec("blocks", layer, final_norm="final"),),
        embeddings=(),
        norms=(),
        heads={"causal_lm": HeadSpec("", readers=())},
        norm_kind="rms",
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
    structure = read_structure(model, bind(gated_spec(), model, "causal_lm", HeadGeometry(2)))
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
    model_map = bind(gated_spec(), model, "causal_lm", HeadGeometry(2))
    assert model_map.stacks[0].layers == ("blocks.0", "blocks.1")
    attention, ffn = model_map.sub_blocks[2:]
    assert (attention.name, attention.layer, attention.unit_width) == ("blocks.1.attn", 1, 2)
    assert attention.projections == (
        Projection("q_proj", "blocks.1.q", 2),
        Projection("k_proj", "blocks.1.k", 2),
        Projection("v_proj", "blocks.1.v", 2),
        Projection("o_proj", "blocks.1.o", 2),
    )
    assert attention.residual_input == "blocks.1.q"
    assert attention.bypass == (BypassSpec("blocks.1.q", "input", num_outputs=2),)
    assert attention.norm is None
    assert (ffn.unit_width, ffn.norm) == (1, "blocks.1.norm")
    assert ffn.bypass == (BypassSpec("blocks.1.up", "zero", input_position=1),)


def test_sites_owners_and_norms_are_found() -> None:
    model = gated_model()
    model_map = bind(gated_spec(), model, "causal_lm", HeadGeometry(2))
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


def test_queries_of_a_group_are_one_unit_with_their_key_and_value() -> None:
    model = gated_model()
    for layer in model.blocks:
        layer.k = nn.Linear(6, 4, bias=False)
        layer.v = nn.Linear(6, 4, bias=False)
        layer.q, layer.o = nn.Linear(6, 12), nn.Linear(12, 6, bias=False)
    structure = read_structure(
        model, bind(gated_spec(), model, "causal_lm", HeadGeometry(2, queries_per_group=3))
    )
    attention = structure.sub_blocks[0]
    # Two groups of three query heads of 2 channels: q and o 6 rows or columns, k and v 2 each.
    assert (attention.num_units, attention.unit_width, attention.num_heads) == (2, 6, 6)
    assert attention.per_unit_per_dim == 6 + 2 + 2 + 6
    assert attention.per_unit == 6  # the bias of q
    assert attention.num_params(6) == sum(
        p.numel() for name in "qkvo" for p in model.blocks[0][name].parameters()
    )
