"""Parts from configuration: what trains, how batches divide, what a phase is called."""

import threading

import pytest
import torch
from torch import nn

from apt_core.adapters.linear import APTLinear
from apt_core.config.plan import plan_training
from apt_core.models.loading import load_tokenizer
from apt_core.trainer import build_parts as parts
from tests.tiny_run import DISTILL_STOP, EVENTS, tiny_experiment

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("parts")


def adapted(root, *overrides):
    config = tiny_experiment(root, *overrides)
    loaded = parts.load_task_model(config)
    return config, loaded, parts.adapt(config, loaded)


def trained(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_without_gpus_per_worker_the_device_is_the_cpu(root):
    assert parts.pick_device(tiny_experiment(root)) == CPU


def test_full_tuning_trains_everything_and_injects_nothing(root):
    _, loaded, structure = adapted(root, "arm=ft")
    assert trained(loaded.model) == {name for name, _ in loaded.model.named_parameters()}
    assert not structure.ranks
    assert not any(isinstance(module, APTLinear) for module in loaded.model.modules())


def test_full_tuning_that_prunes_injects_layers_without_adapters(root):
    _, loaded, structure = adapted(root, "arm=prune_distill")
    assert trained(loaded.model) == {name for name, _ in loaded.model.named_parameters()}
    assert not structure.ranks
    layers = [module for module in loaded.model.modules() if isinstance(module, APTLinear)]
    assert len(layers) == 4 * 6
    assert {layer.rank for layer in layers} == {0}


@pytest.mark.parametrize(
    ("overrides", "sites"),
    [
        (["arm=lora"], {"query", "value"}),
        (["arm=lora_prune_distill"], {"query", "value"}),
        (["arm=apt"], {"query", "value", "intermediate.dense"}),
        (["arm=apt", "model.adapter.apply_to_ffn=false"], {"query", "value"}),
        (["arm=lora", "model.adapter.mha_components=[q_proj, k_proj]"], {"query", "key"}),
    ],
)
def test_adapters_and_head_train_where_the_arm_puts_them(root, overrides, sites):
    _, loaded, structure = adapted(root, *overrides)
    assert len(structure.ranks) == 4 * len(sites)
    assert all(any(site.endswith(end) for end in sites) for site in structure.ranks)
    assert set(structure.ranks.values()) == {2}
    expected = {f"{site}.{leaf}" for site in structure.ranks for leaf in ("lora_a", "lora_b")}
    head = {name for name, _ in loaded.model.named_parameters() if name.startswith("classifier.")}
    assert trained(loaded.model) == expected | head


def test_batches_are_lists_of_micro_batches_and_start_anywhere(root):
    config = tiny_experiment(root, "training.micro_batch_size=2")
    tokenizer = load_tokenizer(config.model.path, revision=None, trust_remote_code=False)
    loader = parts.build_loader(config, tokenizer, parts.load_task_model(config))
    batches = parts.batches_on(loader, CPU, 0)
    first = [next(batches) for _ in range(3)]
    assert [len(batch) for batch in first] == [4, 4, 4]
    assert all(len(micro["labels"]) == 2 for batch in first for micro in batch)
    again = next(parts.batches_on(loader, CPU, 2))
    for ours, theirs in zip(again, first[2], strict=True):
        assert torch.equal(ours["input_ids"], theirs["input_ids"])


def test_batches_are_made_ahead_by_a_thread_for_training_and_for_evaluation(root, monkeypatch):
    config = tiny_experiment(root)
    tokenizer = load_tokenizer(config.model.path, revision=None, trust_remote_code=False)
    loader = parts.build_loader(config, tokenizer, parts.load_task_model(config))
    makers = []

    def noting(batch, device):
        makers.append(threading.current_thread().name)
        return batch

    monkeypatch.setattr(parts, "pinned", noting)
    next(parts.batches_on(loader, CPU, 0))
    rows = [rows for _, rows in parts.eval_batches_on(loader, CPU, None)]
    assert sum(rows) == loader.num_eval_rows
    assert set(makers) == {"prefetch"}


def test_a_batch_for_the_cpu_stays_what_it_is():
    batch = {"a": torch.ones(2)}
    assert parts.pinned(batch, CPU) is batch


@pytest.mark.gpu
def test_a_batch_for_a_gpu_is_pinned():
    batch = parts.pinned({"a": torch.ones(2)}, torch.device("cuda", 0))
    assert batch["a"].is_pinned()
    assert torch.equal(batch["a"], torch.ones(2))


def test_a_batch_goes_to_a_device_whole():
    batch = parts.to_device({"a": torch.ones(2), "b": torch.zeros(1)}, torch.device("meta"))
    assert {name: tensor.device.type for name, tensor in batch.items()} == {
        "a": "meta",
        "b": "meta",
    }


def test_phases_are_named_by_the_plan(root):
    plan = plan_training(tiny_experiment(root), 96)
    opens = EVENTS[0] - plan.prune.window
    expected = {
        1: "tuning",
        opens - 1: "tuning",
        opens: "pruning",
        EVENTS[-1]: "pruning",
        EVENTS[-1] + 1: "distilling",
        DISTILL_STOP: "distilling",
        DISTILL_STOP + 1: "retraining",
    }
    assert {step: parts.phase_of(plan, step) for step in expected} == expected
    fixed = plan_training(tiny_experiment(root, "arm=lora"), 96)
    assert {parts.phase_of(fixed, step) for step in (1, 20, 36)} == {"tuning"}


def made_engine(root, *overrides):
    config, loaded, _ = adapted(root, *overrides)
    holder = nn.Module()
    holder.student = loaded.model
    return parts.engine_factory(config, loaded, CPU)(holder, None)


def test_the_head_may_learn_at_a_rate_of_its_own(root):
    engine = made_engine(root, "training.head_learning_rate=0.03")
    shapes: dict[float, set] = {}
    for group in engine._optimizer.param_groups:
        shapes.setdefault(round(group["rate_multiplier"], 6), set()).update(
            tuple(p.shape) for p in group["params"]
        )
    assert shapes.keys() == {1.0, 10.0}
    assert (2, 16) in shapes[10.0]  # the last layer of the head, or a branch of rank 2
    assert (16,) in shapes[10.0]  # a bias: only the head has trainable ones
    assert (16,) not in shapes[1.0]
    plain = made_engine(root)._optimizer.param_groups
    assert {group["rate_multiplier"] for group in plain} == {1.0}


def test_gradients_are_averaged_over_the_micro_batches_of_all_workers(root):
    assert made_engine(root)._accumulation_steps == 1
    assert made_engine(root, "training.micro_batch_size=2")._accumulation_steps == 4
    shared = ["training.micro_batch_size=2", "hardware.num_workers=2"]
    assert made_engine(root, *shared)._accumulation_steps == 2


@pytest.mark.parametrize(
    ("overrides", "learns"),
    [
        ([], True),
        (["training.train_head=false"], False),
        (["ablation=paper:w/o_Ds"], False),
        (["ablation=w/o_Ds"], True),
        (["arm=lora", "training.train_head=false"], False),
        (["arm=ft", "training.train_head=false"], True),
    ],
)
def test_the_task_head_learns_unless_it_is_told_not_to(root, overrides, learns):
    _, loaded, _ = adapted(root, *overrides)
    heads = [loaded.model.get_submodule(path) for path in loaded.model_map.head]
    assert {p.requires_grad for head in heads for p in head.parameters()} == {learns}


@pytest.mark.parametrize("frozen", [False, True])
def test_full_tuning_may_leave_the_embeddings_alone(root, frozen):
    setting = f"training.freeze_embeddings={str(frozen).lower()}"
    _, loaded, _ = adapted(root, "arm=ft", setting)
    at_rest = {name for name, _ in loaded.model.named_parameters()} - trained(loaded.model)
    tables = {f"{path}.weight" for path in loaded.model_map.embeddings}
    assert at_rest == (tables if frozen else set())
