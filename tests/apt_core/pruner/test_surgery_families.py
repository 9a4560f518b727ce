"""Every family: masked == sliced == merged == reloaded, and text comes out the same."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from apt_core.adapters.inject import inject_adapters
from apt_core.adapters.merge import merge_adapters
from apt_core.models.calls import call_model
from apt_core.models.export import export_model, load_pruned
from apt_core.models.loading import build_model
from apt_core.models.spec import HeadKind
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.masks import apply_masks, binary_masks
from apt_core.pruner.surgery import prune_model
from tests.tiny import CASES, CAUSAL, SEQ2SEQ, tiny_batch, tiny_config, tiny_model

ALL = pytest.mark.parametrize(("family", "head_kind"), CASES)
WRITERS = (*SEQ2SEQ, *CAUSAL)
NEW_TOKENS = 7


def random_kept(structure: Structure, *, dead: tuple[int, ...], seed: int = 1) -> KeptBlocks:
    """About half of every sub-block, 11 of 16 hidden dimensions; the sub-blocks `dead` are gone."""
    generator = torch.Generator().manual_seed(seed)
    units = {}
    for i, s in enumerate(structure.sub_blocks):
        count = 0 if i in dead else max(1, s.num_units // 2)
        units[s.name] = torch.randperm(s.num_units, generator=generator)[:count].sort().values
    return KeptBlocks(units, torch.randperm(16, generator=generator)[:11].sort().values)


@torch.no_grad()
def logits_of(model: nn.Module, head_kind: HeadKind) -> Tensor:
    outputs = call_model(model, head_kind, tiny_batch(head_kind=head_kind))
    if head_kind == "question_answering":
        return torch.cat([outputs.start_logits, outputs.end_logits])
    return outputs.logits


@ALL
@pytest.mark.parametrize("dead", [(), (0,), (1, 2), (-1,)], ids=str)
def test_masked_equals_sliced_equals_merged_equals_reloaded(
    family: str, head_kind: HeadKind, dead: tuple[int, ...], tmp_path: Path
) -> None:
    loaded, structure = tiny_model(family, head_kind=head_kind)
    model = loaded.model.eval()
    whole = logits_of(model, head_kind)
    dead = tuple(i % len(structure.sub_blocks) for i in dead)
    kept = random_kept(structure, dead=dead)

    apply_masks(model, loaded.model_map, binary_masks(structure, kept))
    masked = logits_of(model, head_kind)
    apply_masks(model, loaded.model_map, None)
    surgery = prune_model(model, loaded.model_map, structure, kept)
    merged = merge_adapters(copy.deepcopy(model)).eval()
    export_model(merged, loaded.config, surgery.structure_after, tmp_path, head_kind=head_kind)
    reloaded = load_pruned(tmp_path)

    assert (masked - whole).abs().max() > 1e-3
    for other in (model, merged, reloaded):
        torch.testing.assert_close(logits_of(other, head_kind), masked, atol=1e-5, rtol=0)
    if loaded.config.tie_word_embeddings and head_kind in ("seq2seq_lm", "causal_lm"):
        assert reloaded.lm_head.weight is reloaded.get_input_embeddings().weight


@ALL
def test_injection_alone_changes_no_output(family: str, head_kind: HeadKind) -> None:
    torch.manual_seed(0)
    config = tiny_config(family)
    config.num_labels = 2 if head_kind == "question_answering" else 3
    loaded = build_model(config, head_kind)
    before = logits_of(loaded.model.eval(), head_kind)
    inject_adapters(loaded.model, loaded.model_map, ranks={}, scaling=2.0)
    torch.testing.assert_close(logits_of(loaded.model, head_kind), before, atol=1e-6, rtol=0)


def prompt(family: str) -> dict[str, Tensor]:
    """Padded on the right for an encoder, on the left where the text goes on."""
    batch = tiny_batch(labels=False)
    return {n: t.flip(1) for n, t in batch.items()} if family in CAUSAL else batch


def generate(model: nn.Module, family: str, *, beams: int, cache: bool) -> Tensor:
    return model.generate(
        **prompt(family),
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        num_beams=beams,
        use_cache=cache,
        do_sample=False,
        pad_token_id=1,
        eos_token_id=2,
    )


@pytest.mark.parametrize("family", WRITERS)
@pytest.mark.parametrize("dead_attention", [False, True])
@pytest.mark.parametrize("beams", [1, 3])
def test_text_with_a_cache_is_text_without(family: str, dead_attention: bool, beams: int) -> None:
    loaded, structure = tiny_model(family)
    first = [i for i, s in enumerate(structure.sub_blocks) if ".0." in s.name]
    attention = [i for i in first if structure.sub_blocks[i].kind == "attention"]
    kept = random_kept(structure, dead=tuple(attention) if dead_attention else ())
    prune_model(loaded.model, loaded.model_map, structure, kept)
    model = merge_adapters(loaded.model).eval()
    cached = generate(model, family, beams=beams, cache=True)
    assert torch.equal(cached, generate(model, family, beams=beams, cache=False))
    # Not a text that any model would write: another one writes another.
    other, _ = tiny_model(family, seed=9)
    assert not torch.equal(cached, generate(other.model.eval(), family, beams=beams, cache=True))
