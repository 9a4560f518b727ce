"""Generation with tiny models: padding, settings, defaults that do not leak, silence."""

import pytest
import torch

from apt_core.evaluator.generation import (
    GenerationSettings,
    TokenIds,
    generate,
    left_padded_prompts,
)
from tests.tiny_generative import (
    EOS,
    PAD,
    causal_batch,
    prompts_of,
    seq2seq_batch,
    silence_required,
    tiny_llama,
    tiny_t5,
    word_tokenizer,
)

LENGTHS = [3, 9, 1, 6]
TOKENS = TokenIds(pad=PAD, eos=EOS)


def tokens_of(row: torch.Tensor) -> list[int]:
    """Up to and without the end."""
    values = row.tolist()
    return values[: values.index(EOS)] if EOS in values else values


def batched_and_single(model, settings: GenerationSettings, seed: int):
    prompts = prompts_of(LENGTHS, seed)
    targets = prompts_of([4, 1, 7, 2], seed + 1)
    if model.config.is_encoder_decoder:
        whole = seq2seq_batch(prompts, targets)
        inputs = {name: whole[name] for name in ("input_ids", "attention_mask")}
    else:
        inputs = left_padded_prompts(causal_batch(prompts, targets), PAD)
    together = generate(model, inputs, settings, TOKENS)
    alone = [
        generate(
            model,
            {"input_ids": p[None], "attention_mask": torch.ones_like(p[None])},
            settings,
            TOKENS,
        )[0]
        for p in prompts
    ]
    return [tokens_of(row) for row in together], [tokens_of(row) for row in alone]


@pytest.mark.parametrize("make", [tiny_t5, tiny_llama])
@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_padded_batch_gives_what_each_prompt_gives_alone(make, num_beams) -> None:
    settings = GenerationSettings(max_new_tokens=8, num_beams=num_beams)
    seen = set()
    for seed in range(8):
        together, alone = batched_and_single(make(seed), settings, seed)
        assert together == alone
        seen |= {tuple(row) for row in together}
    assert len(seen) > 20  # prompts matter


def step_by_step(model, prompt: torch.Tensor, count: int) -> list[int]:
    """Greedy search without a cache."""
    begun = [PAD] if model.config.is_encoder_decoder else prompt.tolist()
    start = len(begun)
    while len(begun) < start + count:
        ids = torch.tensor([begun])
        if model.config.is_encoder_decoder:
            logits = model(input_ids=prompt[None], decoder_input_ids=ids).logits
        else:
            logits = model(input_ids=ids).logits
        begun.append(int(logits[0, -1].argmax()))
        if begun[-1] == EOS:
            break
    return tokens_of(torch.tensor(begun[start:]))


@pytest.mark.parametrize("make", [tiny_t5, tiny_llama])
@torch.no_grad()
def test_one_beam_is_the_likeliest_token_each_time(make) -> None:
    for seed in range(5):
        model = make(seed)
        together, _ = batched_and_single(model, GenerationSettings(max_new_tokens=12), seed)
        assert together == [step_by_step(model, p, 12) for p in prompts_of(LENGTHS, seed)]


@pytest.mark.parametrize("make", [tiny_t5, tiny_llama])
def test_settings_reach_the_search(make) -> None:
    differ = {"num_beams": 0, "length_penalty": 0}
    for seed in range(8):
        (prompt,) = prompts_of([5], seed)
        inputs = {"input_ids": prompt[None], "attention_mask": torch.ones_like(prompt[None])}
        model = make(seed)

        def tokens(shortest: int = 0, model=model, inputs=inputs, **options) -> list[int]:
            settings = GenerationSettings(max_new_tokens=20, **options)
            return generate(model, inputs, settings, TOKENS, min_new_tokens=shortest)[0].tolist()

        greedy = tokens(20)
        assert len(greedy) == 20
        assert EOS not in greedy
        assert len(set(tokens(20, no_repeat_ngram_size=1))) == 20
        differ["num_beams"] += tokens(20, num_beams=4) != greedy
        differ["length_penalty"] += tokens(num_beams=4, length_penalty=-5.0) != tokens(
            num_beams=4, length_penalty=5.0
        )
    assert min(differ.values()) > 0


@pytest.mark.parametrize("make", [tiny_t5, tiny_llama])
def test_a_models_own_defaults_neither_decide_nor_warn_and_are_kept(make, caplog, capsys) -> None:
    model = make()
    own = model.generation_config
    (prompt,) = prompts_of([5])
    inputs = {"input_ids": prompt[None], "attention_mask": torch.ones_like(prompt[None])}
    with silence_required(caplog, capsys):
        drawn = [
            generate(
                model,
                inputs,
                GenerationSettings(12, num_beams=num_beams, length_penalty=0.5),
                TOKENS,
                min_new_tokens=12,
            )
            for num_beams in (1, 1, 2, 2)
        ]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[2], drawn[3])
    assert drawn[0].shape == (1, 12)  # their own limit is 7 in all
    assert model.generation_config is own
    assert own.do_sample


def test_the_defaults_come_back_after_an_error() -> None:
    model = tiny_llama()
    own = model.generation_config
    with pytest.raises(ValueError, match="max_new_tokens"):
        generate(model, {"input_ids": torch.ones(1, 2).long()}, GenerationSettings(-1), TOKENS)
    assert model.generation_config is own


def test_prompts_move_to_the_right_edge_without_targets() -> None:
    one, other = torch.tensor([5, 6, 7]), torch.tensor([8])
    batch = causal_batch([one, other], [torch.tensor([9]), torch.tensor([4, 4, 4, EOS])])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 9, PAD], [8, 4, 4, 4, EOS]]
    moved = left_padded_prompts(batch, 33)
    assert moved["input_ids"].tolist() == [[5, 6, 7], [33, 33, 8]]
    assert moved["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]


def test_a_tokenizer_without_padding_pads_with_its_end() -> None:
    tokenizer = word_tokenizer()
    assert TokenIds.of(tokenizer) == TokenIds(PAD, EOS)
    tokenizer.pad_token = None
    assert TokenIds.of(tokenizer) == TokenIds(EOS, EOS)
    tokenizer.eos_token = None
    assert TokenIds.of(tokenizer) == TokenIds(0, None)
