import pytest
import torch

from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.surgery import prune_model
from apt_core.salience.collector import CollectorSettings, SalienceCollector
from tests.tiny import tiny_batch, tiny_model

PREFIX = "student."


def collector_of(loaded, structure, **settings):
    return SalienceCollector(
        loaded.model,
        loaded.model_map,
        structure,
        prefix=PREFIX,
        settings=CollectorSettings(**settings),
    )


def full_parameters(model):
    parameters = dict(model.named_parameters())
    return lambda names: {name: parameters[name.removeprefix(PREFIX)] for name in names}


def record(collector, batch, *, scale=1.0):
    with collector.recording(batch):
        (collector.model(**batch).loss * scale).backward()


def token_sums(tensor, mask):
    """Sum over batch and real tokens, one number at a time, in float64."""
    rows, tokens, channels = tensor.shape
    sums = [0.0] * channels
    for r in range(rows):
        for t in range(tokens):
            if mask[r, t] == 1:
                for c in range(channels):
                    sums[c] += abs(float(tensor[r, t, c]))
    return torch.tensor(sums, dtype=torch.float64)


def oracle(loaded, batch):
    """Salience from retained tensors, and input gradients from the layers' own backward rule."""
    model, kept = loaded.model, {}

    def keep(path):
        def hook(_, args, output):
            for name, tensor in (("in", args[0]), ("out", output)):
                if tensor.requires_grad:
                    tensor.retain_grad()
                kept[path, name] = tensor

        return model.get_submodule(path).register_forward_hook(hook)

    handles = [keep(path) for s in loaded.model_map.sub_blocks for _, path, _ in s.projections]
    last = model.get_submodule(loaded.model_map.stacks[0].layers[-1])

    def keep_last(_, args, output):
        output.retain_grad()
        kept["last"] = output

    handles.append(last.register_forward_hook(keep_last))
    model(**batch).loss.backward()
    for handle in handles:
        handle.remove()
    return salience_of(loaded, kept, batch["attention_mask"])


def weight_of(model, path):
    return model.get_submodule(path).merged_weight().double()


def salience_of(loaded, kept, mask):
    tokens = float(mask.sum())
    units, hidden = {}, token_sums(kept["last"], mask) * token_sums(kept["last"].grad, mask)
    for s in loaded.model_map.sub_blocks:
        x = kept[s.writer.path, "in"]
        product = token_sums(x, mask) * token_sums(x.grad, mask) / tokens
        units[s.name] = product.reshape(-1, s.unit_width).sum(1)
        stream = kept[s.readers[0].path, "in"]
        if not stream.requires_grad:
            continue  # layer 0 reads the frozen embeddings
        gradient = sum(
            kept[path, "out"].grad.double()
            @ loaded.model.get_submodule(path).merged_weight().double()
            for _, path, _ in s.readers
        )
        hidden = hidden + token_sums(stream, mask) * token_sums(gradient, mask)
    return units, hidden / tokens


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_block_salience_equals_the_slow_oracle(family):
    loaded, structure = tiny_model(family)
    batch = tiny_batch()
    collector = collector_of(loaded, structure)
    record(collector, batch)
    measured = collector.measure(full_parameters(loaded.model), 1.0)
    loaded.model.zero_grad()
    units, hidden = oracle(loaded, batch)
    for name, expected in units.items():
        torch.testing.assert_close(
            measured.blocks.units[name].double(), expected, rtol=1e-4, atol=1e-12
        )
    torch.testing.assert_close(measured.blocks.hidden.double(), hidden, rtol=1e-4, atol=1e-12)


def test_recording_changes_neither_gradients_nor_output():
    loaded, structure = tiny_model()
    batch = tiny_batch()
    loaded.model(**batch).loss.backward()
    plain = {n: p.grad.clone() for n, p in loaded.model.named_parameters() if p.grad is not None}
    loaded.model.zero_grad()
    record(collector_of(loaded, structure), batch)
    for name, parameter in loaded.model.named_parameters():
        if name in plain:
            # The aliases change the order in which gradients are summed, nothing else.
            torch.testing.assert_close(parameter.grad, plain[name], atol=1e-8, rtol=1e-4)


def test_pad_tokens_do_not_count():
    loaded, structure = tiny_model()
    loaded.model.eval()
    batch = tiny_batch()
    cut = {k: v[2:, :6] if v.dim() == 2 else v[2:] for k, v in batch.items()}
    padded = {k: v[2:] for k, v in batch.items()}
    results = []
    for b in (cut, padded):
        collector = collector_of(loaded, structure)
        record(collector, b)
        results.append(collector.measure(full_parameters(loaded.model), 1.0).blocks)
    torch.testing.assert_close(results[0].hidden, results[1].hidden, rtol=1e-3, atol=1e-9)


def test_the_loss_scale_is_divided_out():
    loaded, structure = tiny_model()
    results = []
    for scale in (1.0, 1024.0):
        collector = collector_of(loaded, structure)
        record(collector, tiny_batch(), scale=scale)
        results.append(collector.measure(full_parameters(loaded.model), scale))
        loaded.model.zero_grad()
    torch.testing.assert_close(results[0].blocks.hidden, results[1].blocks.hidden)
    assert results[0].adapters == pytest.approx(results[1].adapters, rel=1e-4)


def test_two_micro_batches_give_the_salience_of_the_whole_batch():
    loaded, structure = tiny_model()
    loaded.model.eval()
    batch = tiny_batch()
    whole, parts = collector_of(loaded, structure), collector_of(loaded, structure)
    record(whole, batch)
    for rows in (slice(0, 2), slice(2, 4)):
        # An engine divides each micro-batch's loss by their number.
        record(parts, {k: v[rows] for k, v in batch.items()}, scale=0.5)
    a = whole.measure(full_parameters(loaded.model), 1.0)
    b = parts.measure(full_parameters(loaded.model), 1.0)
    torch.testing.assert_close(a.blocks.hidden, b.blocks.hidden, rtol=1e-4, atol=1e-10)
    assert a.adapters == pytest.approx(b.adapters, rel=1e-3)


def test_adapter_importance_is_the_sum_of_weight_times_gradient():
    loaded, structure = tiny_model()
    collector = collector_of(loaded, structure)
    record(collector, tiny_batch())
    measured = collector.measure(full_parameters(loaded.model), 1.0)
    site = next(iter(structure.ranks))
    lora_b = loaded.model.get_submodule(site).lora_b
    assert measured.adapters[site] == pytest.approx(
        float((lora_b.detach() * lora_b.grad).abs().sum())
    )


def test_the_average_keeps_85_percent_of_the_past():
    loaded, structure = tiny_model()
    collector = collector_of(loaded, structure)
    steps = []
    for seed in (1, 2):
        record(collector, tiny_batch(seed=seed))
        steps.append(collector.measure(full_parameters(loaded.model), 1.0))
        collector.commit(steps[-1])
    expected = 0.85 * steps[0].blocks.hidden + 0.15 * steps[1].blocks.hidden
    torch.testing.assert_close(collector.snapshot().blocks.hidden, expected)


def test_a_measurement_that_is_not_committed_leaves_no_trace():
    loaded, structure = tiny_model()
    collector = collector_of(loaded, structure)
    record(collector, tiny_batch())
    collector.measure(full_parameters(loaded.model), 1.0)
    assert collector.snapshot() is None


def test_hooks_are_gone_after_recording():
    loaded, structure = tiny_model()
    record(collector_of(loaded, structure), tiny_batch())
    for module in loaded.model.modules():
        assert not module._forward_pre_hooks
        assert not module._forward_hooks or module.__class__.__name__.endswith("Model")


def test_averages_follow_a_surgery_and_adapters_start_anew():
    loaded, structure = tiny_model()
    collector = collector_of(loaded, structure)
    record(collector, tiny_batch())
    collector.commit(collector.measure(full_parameters(loaded.model), 1.0))
    before = collector.snapshot()
    kept = KeptBlocks(
        {s.name: torch.arange(0, s.num_units, 2) for s in structure.sub_blocks},
        torch.arange(1, 16, 3),
    )
    loaded.model.zero_grad()
    collector.remap(prune_model(loaded.model, loaded.model_map, structure, kept))
    after = collector.snapshot()
    torch.testing.assert_close(after.blocks.hidden, before.blocks.hidden[1::3])
    name = structure.sub_blocks[0].name
    torch.testing.assert_close(after.blocks.units[name], before.blocks.units[name][::2])
    assert after.adapters == {}
    record(collector, tiny_batch(seed=5))
    collector.commit(collector.measure(full_parameters(loaded.model), 1.0))


def test_the_outlier_term_is_added_when_asked_for():
    loaded, structure = tiny_model()
    results = []
    for weight in (0.0, 1.0):
        collector = collector_of(loaded, structure, kurtosis_weight=weight)
        record(collector, tiny_batch())
        results.append(collector.measure(full_parameters(loaded.model), 1.0).blocks)
        loaded.model.zero_grad()
    name = structure.sub_blocks[0].name
    assert not torch.allclose(results[0].units[name], results[1].units[name])
    assert not torch.allclose(results[0].hidden, results[1].hidden)
