"""Counting by arithmetic, and timing with a clock that the test controls."""

import pytest
import torch
from torch import Tensor, nn

from apt_core.adapters.linear import APTLinear
from apt_core.evaluator import efficiency, turns
from apt_core.evaluator.efficiency import (
    forward_inputs,
    macs_per_sample,
    measure_generation,
    measure_inference,
    merged_copy,
    prompt_inputs,
)
from apt_core.evaluator.generation import TokenIds
from tests.reference.structures import roberta_base
from tests.tiny import tiny_batch, tiny_model
from tests.tiny_generative import (
    EOS,
    PAD,
    causal_batch,
    prompts_of,
    seq2seq_batch,
    tiny_llama,
    tiny_t5,
)


def test_roberta_base_at_128_tokens_is_counted_by_hand() -> None:
    projections = 4 * 768 * 768 * 128
    scores_and_context = 2 * 128 * 128 * 768
    feed_forward = 2 * 768 * 3072 * 128
    expected = 12 * (projections + scores_and_context + feed_forward)
    assert macs_per_sample(roberta_base(), 128) == expected == 11_173_625_856


def test_the_count_follows_heads_neurons_and_hidden_size() -> None:
    structure = roberta_base()
    units = {s.name: 0 for s in structure.sub_blocks}
    first, second = structure.sub_blocks[:2]
    small = structure.with_units(units | {first.name: 2, second.name: 10}, 100)
    length = 7.5
    expected = 2 * (4 * 7.5 * 100 * 64 + 2 * 7.5**2 * 64) + 10 * 2 * 7.5 * 100
    assert macs_per_sample(small, length) == round(expected)
    assert macs_per_sample(structure.with_units(units, 100), length) == 0


def test_the_count_of_a_tiny_model_is_what_its_layers_multiply() -> None:
    loaded, structure = tiny_model()
    batch = tiny_batch(labels=False)
    counted = []

    def count(module: APTLinear, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        counted.append(inputs[0][0].numel() * module.out_features)

    for module in loaded.model.modules():
        if isinstance(module, APTLinear):
            module.register_forward_hook(count)
    loaded.model(**batch)
    attention = 3 * 2 * 9 * 9 * 16
    assert macs_per_sample(structure, 9) == sum(counted) + attention


def test_a_merged_copy_leaves_the_student_alone() -> None:
    loaded, _ = tiny_model()
    loaded.model.train()
    before = {n: p.detach().clone() for n, p in loaded.model.named_parameters()}
    copy = merged_copy(loaded.model)
    assert not copy.training
    assert loaded.model.training
    assert not any(isinstance(m, APTLinear) for m in copy.modules())
    after = dict(loaded.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    batch = tiny_batch(labels=False)
    torch.testing.assert_close(
        copy(**batch).logits, loaded.model.eval()(**batch).logits, atol=1e-5, rtol=0
    )


class Clocked(nn.Module):
    """Takes as long as it is told, on the test's clock."""

    def __init__(self, clock: list[float], seconds: list[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(256, 1024))
        self.clock, self.seconds = clock, iter(seconds)
        self.seen: list[Tensor] = []
        self.had_gradients = False

    def forward(self, input_ids: Tensor) -> Tensor:
        self.clock[0] += next(self.seconds, 1000.0)
        self.seen.append(input_ids)
        self.had_gradients |= torch.is_grad_enabled()
        return input_ids


def test_medians_are_taken_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock[0])
    model = Clocked(clock, [90.0, 90.0, 1.0, 4.0, 2.0])
    dense = Clocked(clock, [90.0, 90.0, 5.0, 50.0, 8.0])
    batches = [{"input_ids": torch.full((4, 3), i)} for i in range(2)]
    point = measure_inference(model, dense, batches, warmup=2, repeats=3)
    assert point.batch_size == 4
    assert point.latency_ms == 2000.0
    assert point.dense_latency_ms == 8000.0
    assert point.throughput_samples_per_s == 2.0
    assert point.speedup == 4.0
    # Warm-up and repeats go through the batches in turn; both models see the same.
    assert [int(x[0, 0]) for x in dense.seen] == [0, 1, 0, 1, 0]
    assert [int(x[0, 0]) for x in model.seen][:5] == [0, 1, 0, 1, 0]
    assert not model.had_gradients


def test_the_peak_is_the_models_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # 5 GiB are held by others, of which the peak of 5.5 says nothing.
    monkeypatch.setattr(efficiency, "reset_peak_memory", lambda: None)
    monkeypatch.setattr(efficiency, "current_memory_gib", lambda: 5.0)
    monkeypatch.setattr(efficiency, "peak_memory_gib", lambda: 5.5)
    model, dense = Clocked([0.0], []), Clocked([0.0], [])
    batches = [{"input_ids": torch.zeros(1, 1)}]
    point = measure_inference(model, dense, batches, warmup=0, repeats=1)
    mib = 256 * 1024 * 4 / 1024**3
    assert point.peak_memory_gib == pytest.approx(0.5 + mib)
    assert len(dense.seen) == 1


TOKENS = TokenIds(pad=PAD, eos=EOS)
GENERATIVE = [(tiny_t5, seq2seq_batch), (tiny_llama, causal_batch)]


def generative_batch(collate):
    return collate(prompts_of([3, 5]), prompts_of([4, 2], seed=1))


@pytest.mark.parametrize(("make", "collate"), GENERATIVE)
def test_a_generative_model_is_timed_forward_and_writing(make, collate) -> None:
    model, dense, batch = make(), make(1), generative_batch(collate)
    inputs = forward_inputs(model, batch)
    assert inputs.keys() & {"labels", "row"} == set()
    point = measure_inference(model, dense, [inputs], warmup=0, repeats=1)
    assert point.latency_ms > 0
    prompts = prompt_inputs(model, batch, TOKENS)
    assert prompts.keys() == {"input_ids", "attention_mask"}
    assert prompts["input_ids"].shape == (2, 5)
    speed = measure_generation(
        model, dense, [prompts], tokens=TOKENS, warmup=0, repeats=1, num_new_tokens=4
    )
    assert speed.tokens_per_s > 0
    assert speed.dense_tokens_per_s > 0


def test_the_decoder_starts_from_the_expected_text() -> None:
    batch = generative_batch(seq2seq_batch)
    begun = forward_inputs(tiny_t5(), batch)["decoder_input_ids"]
    assert begun[:, 0].tolist() == [PAD, PAD]
    assert begun[0, 1:].tolist() == batch["labels"][0, :-1].tolist()
    assert begun[1].tolist() == [PAD, *batch["labels"][1, :2].tolist(), PAD]


def test_an_encoder_gets_no_expected_values_and_no_bookkeeping() -> None:
    loaded, _ = tiny_model()
    batch = tiny_batch()
    more = {"row": batch["labels"], "start_positions": batch["labels"]}
    inputs = forward_inputs(loaded.model, batch | more)
    assert inputs.keys() == {"input_ids", "attention_mask"}


def test_the_speed_of_writing_is_all_new_tokens_over_the_median(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, written = [0.0], []
    seconds = iter([90.0, 90.0, 1.0, 10.0, 4.0, 40.0, 2.0, 20.0])

    def write(model, prompt, settings, tokens, *, min_new_tokens):
        clock[0] += next(seconds)
        written.append((model, prompt["input_ids"]))
        assert settings.max_new_tokens == min_new_tokens == 32
        assert settings.num_beams == 1
        assert tokens is TOKENS
        assert not torch.is_grad_enabled()

    monkeypatch.setattr(efficiency, "generate", write)
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock[0])
    prompts = [{"input_ids": torch.full((4, 3), i)} for i in range(2)]
    model, dense = nn.Identity(), nn.Identity()
    speed = measure_generation(model, dense, prompts, tokens=TOKENS, warmup=1, repeats=3)
    assert speed.tokens_per_s == 4 * 32 / 2.0
    assert speed.dense_tokens_per_s == 4 * 32 / 20.0
    assert [m is model for m, _ in written] == [True, False] * 4
    assert [int(ids[0, 0]) for _, ids in written] == [0, 0, 0, 0, 1, 1, 0, 0]
