import torch

from apt_core.adapters.linear import APTLinear
from apt_core.salience.merged import merged_weight
from tests.tiny import tiny_model


def test_an_adapter_on_a_writer_is_folded_in_and_others_are_read_as_they_are() -> None:
    loaded, _ = tiny_model("llama")
    model = loaded.model
    adapted, plain = "model.layers.0.self_attn.o_proj", "model.layers.1.mlp.down_proj"
    layer = model.get_submodule(adapted)
    assert isinstance(layer, APTLinear)
    layer.add_branch(2)
    torch.nn.init.normal_(layer.lora_b)
    parameters = {f"student.{name}": p for name, p in model.named_parameters()}
    merged, read = (
        merged_weight(model, path, "student.", lambda names: {n: parameters[n] for n in names})
        for path in (adapted, plain)
    )
    torch.testing.assert_close(merged, layer.merged_weight())
    assert (merged - layer.weight).abs().max() > 1e-3
    torch.testing.assert_close(read, model.get_submodule(plain).weight, atol=0, rtol=0)
