"""The format hf: loads with and without aptune, works with generate and PEFT, saves again."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

import apt_core.models.auto  # noqa: F401 - registers the classes
from apt_core.evaluator.export_check import answers_of_fresh_process
from apt_core.models.export_hf import auto_class, write_hf
from apt_core.models.loading import AUTO_CLASSES
from apt_core.models.spec import HeadKind
from tests.pruned import answers, inputs, write_pruned
from tests.tiny import CASES, CAUSAL, SEQ2SEQ, tiny_batch
from tests.tiny_run import write_model

ALL = pytest.mark.parametrize(("family", "head_kind"), CASES)
SOME = pytest.mark.parametrize(
    ("family", "head_kind"),
    [("bert", "sequence_classification"), ("t5", "seq2seq_lm"), ("llama", "causal_lm")],
)


@ALL
def test_it_loads_with_the_auto_class_and_gives_the_same_logits(
    family: str, head_kind: HeadKind, tmp_path: Path
) -> None:
    exported = write_pruned(tmp_path / "export", family, head_kind)
    write_hf(exported, tmp_path / "hf")
    model, info = AUTO_CLASSES[head_kind].from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert type(model).__module__ == "apt_core.models.modeling_apt"
    assert {name: list(found) for name, found in info.items() if found} == {}
    expected = answers(exported.model, head_kind)
    torch.testing.assert_close(answers(model.eval(), head_kind), expected, atol=1e-5, rtol=0)


@ALL
def test_it_saves_and_loads_again(family: str, head_kind: HeadKind, tmp_path: Path) -> None:
    exported = write_pruned(tmp_path / "export", family, head_kind)
    write_hf(exported, tmp_path / "hf")
    auto = AUTO_CLASSES[head_kind]
    model = auto.from_pretrained(tmp_path / "hf").eval()
    model.save_pretrained(tmp_path / "again")
    again = auto.from_pretrained(tmp_path / "again").eval()
    expected = answers(exported.model, head_kind)
    torch.testing.assert_close(answers(again, head_kind), expected, atol=1e-5, rtol=0)
    for name in ("configuration_apt.py", "modeling_apt.py", "pruned_layers.py"):
        assert (tmp_path / "again" / name).is_file()


@pytest.mark.slow
@SOME
def test_without_aptune_the_code_beside_it_loads_it(
    family: str, head_kind: HeadKind, tmp_path: Path
) -> None:
    exported = write_pruned(tmp_path / "export", family, head_kind)
    write_hf(exported, tmp_path / "hf")
    batch = inputs(head_kind)
    batches = [batch, {**batch, "input_ids": batch["input_ids"].flip(0)}]
    given = answers_of_fresh_process(
        tmp_path / "hf", batches, to="hf", auto_class=auto_class(head_kind)
    )
    with torch.no_grad():
        expected = [exported.model(**batch).logits for batch in batches]
    torch.testing.assert_close(given, expected, atol=1e-5, rtol=0)
    assert (given[0] - given[1]).abs().max() > 1e-3  # a comparison that can fail


def test_the_configuration_says_what_every_layer_has_kept(tmp_path: Path) -> None:
    write_hf(write_pruned(tmp_path / "export", "llama", "causal_lm"), tmp_path / "hf")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["hidden_size"] == 11
    assert config["dense_hidden_size"] == 16
    assert config["head_dim"] == 6
    assert config["per_layer_config"] == {
        "0": {"num_attention_heads": 0, "num_key_value_heads": 0, "intermediate_size": 13},
        "1": {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 0},
        "2": {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 12},
    }
    tensors = load_file(tmp_path / "hf" / "model.safetensors")
    assert tensors["model.layers.1.self_attn.q_proj.weight"].shape == (12, 11)
    assert not any(name.startswith("model.layers.0.self_attn") for name in tensors)


def test_the_decoder_of_t5_has_counts_of_its_own(tmp_path: Path) -> None:
    write_hf(write_pruned(tmp_path / "export", "t5", "seq2seq_lm"), tmp_path / "hf")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["per_layer_config"]["0"] == {"num_heads": 0, "d_ff": 13}
    assert config["target_layers"] == [
        {"num_heads": 2, "cross_num_heads": 0, "d_ff": 12},
        {"num_heads": 2, "cross_num_heads": 3, "d_ff": 12},
    ]


def test_classes_get_their_names(tmp_path: Path) -> None:
    exported = write_pruned(tmp_path / "export", "bert", "sequence_classification")
    write_hf(exported, tmp_path / "hf", labels=("bad", "fair", "good"))
    config = transformers.AutoConfig.from_pretrained(tmp_path / "hf")
    assert config.id2label == {0: "bad", 1: "fair", 2: "good"}
    assert config.num_labels == 3


@pytest.mark.parametrize("family", [SEQ2SEQ[0], *CAUSAL])
def test_text_with_a_cache_is_text_without_and_is_the_trained_models(
    family: str, tmp_path: Path
) -> None:
    head_kind: HeadKind = "seq2seq_lm" if family in SEQ2SEQ else "causal_lm"
    exported = write_pruned(tmp_path / "export", family, head_kind)
    write_hf(exported, tmp_path / "hf")
    model = AUTO_CLASSES[head_kind].from_pretrained(tmp_path / "hf").eval()
    prompt = {n: t[:2] for n, t in tiny_batch(labels=False).items()}
    settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 1}
    expected = exported.model.generate(**prompt, **settings, use_cache=False)
    for cache in (True, False):
        assert torch.equal(model.generate(**prompt, **settings, use_cache=cache), expected)


def test_a_pipeline_answers(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    exported = write_pruned(tmp_path / "export", "bert", "sequence_classification")
    write_hf(exported, tmp_path / "hf", labels=("bad", "fair", "good"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(tmp_path / "hf")
    ask = transformers.pipeline("text-classification", model=str(tmp_path / "hf"))
    (answer,) = ask("the film was good")
    with torch.no_grad():
        logits = exported.model(**tokenizer("the film was good", return_tensors="pt")).logits
    assert answer["label"] == ("bad", "fair", "good")[int(logits.argmax())]
    assert answer["score"] == pytest.approx(float(logits.softmax(-1).max()), abs=1e-5)


def test_a_pipeline_writes(tmp_path: Path) -> None:
    exported = write_pruned(tmp_path / "export", "llama", "causal_lm")
    write_hf(exported, tmp_path / "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(write_model(tmp_path / "model"))
    tokenizer.save_pretrained(tmp_path / "hf")
    write = transformers.pipeline("text-generation", model=str(tmp_path / "hf"))
    settings = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    (answer,) = write("the film was", return_tensors=True, **settings)
    ids = tokenizer("the film was", return_tensors="pt")["input_ids"]
    expected = exported.model.generate(ids, pad_token_id=1, **settings)
    assert answer["generated_token_ids"] == expected[0].tolist()


@SOME
def test_lora_on_top_learns(family: str, head_kind: HeadKind, tmp_path: Path) -> None:
    write_hf(write_pruned(tmp_path / "export", family, head_kind), tmp_path / "hf")
    model = AUTO_CLASSES[head_kind].from_pretrained(tmp_path / "hf")
    targets = {"bert": ["query", "value"], "t5": ["q", "v"], "llama": ["q_proj", "v_proj"]}
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=targets[family]))
    batch = tiny_batch(head_kind=head_kind)
    optimizer = torch.optim.AdamW(p for p in adapted.parameters() if p.requires_grad)
    losses = []
    for _ in range(4):
        loss = adapted(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    merged = adapted.merge_and_unload()
    merged.save_pretrained(tmp_path / "tuned")
    again = AUTO_CLASSES[head_kind].from_pretrained(tmp_path / "tuned").eval()
    expected = answers(merged.eval(), head_kind)
    torch.testing.assert_close(answers(again, head_kind), expected, atol=1e-5, rtol=0)
