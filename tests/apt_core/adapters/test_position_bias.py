"""T5's position biases: shared until heads differ, and then each layer's own."""

import torch

from apt_core.adapters.position_bias import table_path
from apt_core.models.calls import call_model
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.surgery import prune_model
from tests.tiny import tiny_batch, tiny_model


def tables(loaded):
    paths = [table_path(s) for s in loaded.model_map.sub_blocks]
    return {path: loaded.model.get_submodule(path).weight for path in paths if path is not None}


def test_every_self_attention_has_a_table_and_each_stack_shares_one_parameter() -> None:
    loaded, _ = tiny_model("t5")
    found = tables(loaded)
    assert len(found) == 3 + 2
    for stack in ("encoder", "decoder"):
        assert len({id(p) for path, p in found.items() if path.startswith(stack)}) == 1


def test_families_without_such_biases_are_left_alone() -> None:
    loaded, _ = tiny_model("llama")
    assert tables(loaded) == {}


def test_a_layer_keeps_the_columns_of_the_heads_it_keeps() -> None:
    loaded, structure = tiny_model("t5")
    before = {path: p.detach().clone() for path, p in tables(loaded).items()}
    units = {s.name: torch.arange(s.num_units) for s in structure.sub_blocks}
    units["encoder.block.1.self_attention"] = torch.tensor([1, 3])
    prune_model(loaded.model, loaded.model_map, structure, KeptBlocks(units, torch.arange(16)))
    after = tables(loaded)
    cut = "encoder.block.1.layer.0.SelfAttention.relative_attention_bias"
    torch.testing.assert_close(after[cut], before[cut][:, [1, 3]], atol=0, rtol=0)
    whole = {path: p for path, p in after.items() if path != cut}
    assert {p.shape for p in whole.values()} == {(8, 4)}


def test_a_first_layer_without_heads_leaves_the_others_their_biases() -> None:
    """In the stock model the first layer computes the bias of all: without it there is none."""
    loaded, structure = tiny_model("t5")
    units = {s.name: torch.arange(s.num_units) for s in structure.sub_blocks}
    units["encoder.block.0.self_attention"] = torch.arange(0)
    prune_model(loaded.model, loaded.model_map, structure, KeptBlocks(units, torch.arange(16)))
    model, batch = loaded.model.eval(), tiny_batch(head_kind="seq2seq_lm")
    with torch.no_grad():
        before = call_model(model, "seq2seq_lm", batch).logits
        attention = model.get_submodule("encoder.block.1.layer.0.SelfAttention")
        attention.relative_attention_bias.weight.add_(torch.randn(8, 4))
        after = call_model(model, "seq2seq_lm", batch).logits
    assert (before - after).abs().max() > 1e-3
