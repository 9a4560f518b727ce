"""Salience of encoder-decoders and of grouped-query decoders, against tensors kept by hand."""

import pytest
import torch
from torch import Tensor

from apt_core.models.calls import call_model, token_masks
from apt_core.models.modules import checkpoint_activations
from apt_core.salience.collector import CollectorSettings, SalienceCollector
from tests.tiny import tiny_batch, tiny_model

PREFIX = "student."
FAMILIES = pytest.mark.parametrize("family", ["t5", "t5-gated", "llama", "qwen3", "gemma"])


def collector_of(loaded, structure, **settings) -> SalienceCollector:
    return SalienceCollector(
        loaded.model,
        loaded.model_map,
        structure,
        prefix=PREFIX,
        settings=CollectorSettings(**settings),
    )


def measure(loaded, structure, *batches, **settings):
    collector = collector_of(loaded, structure, **settings)
    for batch in batches:
        with collector.recording(batch):
            call_model(loaded.model, loaded.model_map.head_kind, batch).loss.backward()
    parameters = dict(loaded.model.named_parameters())
    return collector.measure(
        lambda names: {n: parameters[n.removeprefix(PREFIX)] for n in names}, 1.0
    )


def kept_tensors(loaded, batch) -> dict[tuple[str, str], Tensor]:
    """Input and output of every writer and norm, with the gradient of the output."""
    model_map, kept, handles = loaded.model_map, {}, []
    paths = [s.writer.path for s in model_map.sub_blocks]
    paths += [s.residual_input for s in model_map.sub_blocks]
    paths += [s.final_norm for s in model_map.stacks]
    for path in paths:

        def keep(_, args, output, path=path):
            for name, tensor in (("in", args[0]), ("out", output)):
                if tensor.requires_grad:
                    tensor.retain_grad()
                kept[path, name] = tensor

        handles.append(loaded.model.get_submodule(path).register_forward_hook(keep))
    call_model(loaded.model, model_map.head_kind, batch).loss.backward()
    for handle in handles:
        handle.remove()
    return kept


def product_of_sums(activation: Tensor, gradient: Tensor, mask: Tensor) -> Tensor:
    real = mask.bool()
    both = activation[real].double().abs().sum(0) * gradient[real].double().abs().sum(0)
    return both / real.sum()


def input_gradient(loaded, path: str, kept) -> Tensor:
    """The gradient that reaches a norm's input through the norm alone."""
    x = kept[path, "in"].detach().requires_grad_(True)
    y = loaded.model.get_submodule(path)(x)
    return torch.autograd.grad(y, x, kept[path, "out"].grad)[0]


@FAMILIES
def test_block_salience_is_the_product_of_sums_over_the_tokens_of_its_own_stream(family: str):
    loaded, structure = tiny_model(family)
    batch = tiny_batch(head_kind=loaded.model_map.head_kind)
    measured = measure(loaded, structure, batch).blocks
    kept = kept_tensors(loaded, batch)
    masks = token_masks(loaded.model_map.head_kind, batch)
    hidden = torch.zeros(structure.hidden_size, dtype=torch.float64)
    for s in loaded.model_map.sub_blocks:
        x = kept[s.writer.path, "in"]
        assert x.grad is not None
        product = product_of_sums(x.detach(), x.grad, masks[s.stream])
        expected = product.reshape(-1, s.unit_width).sum(1)
        torch.testing.assert_close(measured.units[s.name].double(), expected, rtol=1e-4, atol=1e-9)
        if kept[s.residual_input, "in"].requires_grad:
            gradient = input_gradient(loaded, s.residual_input, kept)
            stream = kept[s.residual_input, "in"].detach()
            hidden += product_of_sums(stream, gradient, masks[s.stream])
    for stack in loaded.model_map.stacks:
        assert stack.final_norm is not None
        gradient = input_gradient(loaded, stack.final_norm, kept)
        stream = kept[stack.final_norm, "in"].detach()
        hidden += product_of_sums(stream, gradient, masks[stack.stream])
    torch.testing.assert_close(measured.hidden.double(), hidden, rtol=1e-4, atol=1e-9)


@FAMILIES
def test_gradient_checkpointing_counts_every_activation_once(family: str):
    loaded, structure = tiny_model(family)
    batch = tiny_batch(head_kind=loaded.model_map.head_kind)
    loaded.model.train()
    plain = measure(loaded, structure, batch, kurtosis_weight=1.0)
    gradients = {n: p.grad.clone() for n, p in loaded.model.named_parameters() if p.requires_grad}
    loaded.model.zero_grad()
    checkpoint_activations(loaded.model)
    calls = []
    norm = loaded.model_map.sub_blocks[-1].residual_input
    loaded.model.get_submodule(norm).register_forward_pre_hook(lambda *_: calls.append(1))
    again = measure(loaded, structure, batch, kurtosis_weight=1.0)
    assert len(calls) == 2, "the layer ran twice, so there was something to count twice"
    for name, expected in plain.blocks.units.items():
        torch.testing.assert_close(again.blocks.units[name], expected)
    torch.testing.assert_close(again.blocks.hidden, plain.blocks.hidden)
    assert again.adapters == pytest.approx(plain.adapters)
    for name, parameter in loaded.model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, gradients[name])


@FAMILIES
def test_two_micro_batches_of_weighted_losses_are_one_batch(family: str):
    """Sums are kept apart until all micro-batches are in; losses weigh by their label tokens."""
    loaded, structure = tiny_model(family)
    head = loaded.model_map.head_kind
    whole = tiny_batch(head_kind=head, rows=4)
    one = measure(loaded, structure, whole)
    loaded.model.zero_grad()
    collector = collector_of(loaded, structure)
    labels = (whole["labels"] if head == "seq2seq_lm" else whole["labels"][:, 1:]) != -100
    for rows in (slice(0, 1), slice(1, 4)):
        part = {name: tensor[rows] for name, tensor in whole.items()}
        share = labels[rows].sum() / labels.sum()
        with collector.recording(part):
            (call_model(loaded.model, head, part).loss * share).backward()
    parameters = dict(loaded.model.named_parameters())
    two = collector.measure(
        lambda names: {n: parameters[n.removeprefix(PREFIX)] for n in names}, 1.0
    )
    for name, expected in one.blocks.units.items():
        torch.testing.assert_close(two.blocks.units[name], expected, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(two.blocks.hidden, one.blocks.hidden, rtol=1e-4, atol=1e-9)
    assert two.adapters == pytest.approx(one.adapters, rel=1e-4)
