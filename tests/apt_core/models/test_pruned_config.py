"""The configuration of a pruned model: every count comes from the structure."""

import pytest
import torch

from apt_core.models.export_hf import auto_class
from apt_core.models.modeling_apt import MODELS
from apt_core.models.pruned_config import pruned_config
from apt_core.models.spec import HeadKind
from apt_core.models.structure import Structure
from tests.pruned import uneven
from tests.tiny import CASES, tiny_model


def cut(structure: Structure) -> Structure:
    kept = uneven(structure, dead=(0, 3), hidden=11)
    return structure.with_units({n: i.numel() for n, i in kept.units.items()}, 11)


@pytest.mark.parametrize(("family", "head_kind"), CASES)
def test_a_model_that_is_built_from_it_has_the_parameters_of_the_structure(
    family: str, head_kind: HeadKind
) -> None:
    loaded, structure = tiny_model(family, head_kind=head_kind)
    after = cut(structure)
    config = pruned_config(loaded.config, head_kind, after)
    kind = next(m for m in MODELS[auto_class(head_kind)] if m.config_class is type(config))
    model = kind(config)
    for sub_block, mapped in zip(after.sub_blocks, loaded.model_map.sub_blocks, strict=True):
        paths = [p.path for p in mapped.projections]
        if sub_block.num_units == 0:
            names = [name for name, _ in model.named_parameters()]
            assert not any(name.startswith(f"{path}.") for path in paths for name in names)
            continue
        modules = [*paths, *mapped.extra, *([mapped.norm] if mapped.norm else [])]
        counted = sum(
            p.numel()
            for path in modules
            for name, p in model.get_submodule(path).named_parameters()
        )
        assert counted == sub_block.num_params(after.hidden_size), sub_block.name


def test_the_unpruned_configuration_is_left_alone() -> None:
    loaded, structure = tiny_model("llama")
    before = loaded.config.to_dict()
    config = pruned_config(loaded.config, "causal_lm", cut(structure))
    assert loaded.config.to_dict() == before
    assert config.hidden_size == 11
    assert config.dense_hidden_size == 16


def test_a_head_keeps_its_size_where_it_was_a_quotient() -> None:
    for family in ("bert", "qwen2"):
        loaded, structure = tiny_model(family)
        head_kind = loaded.model_map.head_kind
        assert pruned_config(loaded.config, head_kind, cut(structure)).head_dim == 4
    loaded, structure = tiny_model("t5")
    assert pruned_config(loaded.config, "seq2seq_lm", cut(structure)).d_kv == 4
    assert torch.is_tensor(loaded.model.shared.weight)
