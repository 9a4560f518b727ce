import torch

from apt_core.adapters.linear import APTLinear
from apt_core.salience.merged import merged_weights
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
    weights = merged_weights(
        model,
        {"a": adapted, "b": plain},
        "student.",
        lambda names: {name: parameters[name] for name in names},
    )
    torch.testing.assert_close(weights["a"], layer.merged_weight())
    assert (weights["a"] - layer.weight).abs().max() > 1e-3
    torch.testing.assert_close(weights["b"], model.get_submodule(plain).weight, atol=0, rtol=0)
