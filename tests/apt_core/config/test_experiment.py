"""The whole schema: every specified key, every description, and values that follow from others."""

from pydantic import BaseModel

from apt_core.config import DatasetSpec, ExperimentConfig, GridBlock
from apt_core.config.translate import field_paths

SPECIFIED_KEYS = {
    "model.architectures",
    "model.adapter.mha_components",
    "model.adapter.apply_to_ffn",
    "data.datasets",
    "data.max_length",
    "training.initial_rank",
    "training.scaling_factor",
    "training.optimizer",
    "training.weight_decay",
    "training.max_grad_norm",
    "training.momentum_salience",
    "pruning.scheduler",
    "pruning.use_kurtosis",
    "pruning.update_frequency",
    "tuning.max_tuning_params_ratio",
    "tuning.rank_increase_strategy",
    "tuning.init_std",
    "distillation.teacher_layer_mapping",
    "distillation.num_teacher_layers",
    "distillation.distill_loss_weight_start",
    "distillation.distill_loss_weight_end",
    "evaluation.inference_batch_size",
    "evaluation.metrics.classification",
    "evaluation.metrics.qa",
    "evaluation.metrics.summarization",
    "evaluation.metrics.instruction",
    "hardware.precision",
}


def test_every_specified_key_exists() -> None:
    assert set(field_paths(ExperimentConfig)) >= SPECIFIED_KEYS


def models(root: type[BaseModel]) -> list[type[BaseModel]]:
    sections = [type(f.default) for f in root.model_fields.values()]
    below = [m for s in sections if issubclass(s, BaseModel) for m in models(s)]
    return [root, *below]


def test_every_field_has_a_description() -> None:
    found: list[type[BaseModel]] = [*models(ExperimentConfig), DatasetSpec, GridBlock]
    assert len(found) > 10
    bare = [
        f"{m.__name__}.{n}" for m in found for n, f in m.model_fields.items() if not f.description
    ]
    assert bare == []


def test_derived_values_follow_the_chosen_sections() -> None:
    config = ExperimentConfig.model_validate(
        {
            "arm": "lora",
            "training": {"batch_size": 12},
            "hardware": {"num_workers": 3},
            "data": {"dataset": "rte"},
        }
    )
    assert config.metric_name == "accuracy"
    assert config.micro_batch_size == 4
    assert config.switches.adapters
    assert not config.switches.prune
    assert config.result_key()["data"]["spec"]["subset"] == "rte"
