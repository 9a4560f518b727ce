"""Evaluation with generation as one worker of several; JSON in and out, see ``tests/spawn.py``."""

import torch

from apt_core.data.references import References
from apt_core.evaluator.evaluator import Evaluator
from apt_core.evaluator.generation import GenerationSettings
from apt_core.evaluator.predict import make_predictor
from apt_core.evaluator.scorers import make_scorer
from apt_core.models.trained_modules import TrainedModules
from apt_core.trainer.distributed import rank, world_size
from tests.reference.engine_tools import Kind, make_engine
from tests.tiny_generative import (
    EOS,
    causal_batch,
    prompts_of,
    seq2seq_batch,
    tiny_llama,
    tiny_t5,
    word_tokenizer,
)

NUM_ROWS = 5
HEADS = {"seq2seq_lm": (tiny_t5, seq2seq_batch), "causal_lm": (tiny_llama, causal_batch)}


def evaluate_rows(head_kind: str, kind: Kind, num_beams: int) -> dict:
    """Metrics and written texts of all rows; this worker asks for its share of them."""
    make, collate = HEADS[head_kind]
    prompts = prompts_of([3, 9, 1, 6, 2])
    targets = [torch.cat([t, torch.tensor([EOS])]) for t in prompts_of([4, 1, 7, 2, 3], seed=1)]

    def batches(_: str | None):
        share = -(-NUM_ROWS // world_size())
        own = list(range(NUM_ROWS))[rank() * share : (rank() + 1) * share]
        for start in range(0, share, 2):
            rows = own[start : start + 2]
            shown = rows or [0]  # a worker that ran out repeats a row
            batch = collate([prompts[i] for i in shown], [targets[i] for i in shown])
            yield {**batch, "row": torch.tensor(shown)}, len(rows)

    texts: list[str] = []
    scorer = make_scorer("instruction", head_kind)

    def noting(predictions, references):
        texts.extend(value.text for value in predictions)
        return scorer(predictions, references)

    evaluator = Evaluator(
        batches=batches,
        references=lambda _: References(("w1 w2",) * NUM_ROWS),
        predictor=make_predictor(
            head_kind,
            tokenizer=word_tokenizer(),
            generation=GenerationSettings(max_new_tokens=10, num_beams=num_beams),
        ),
        scorer=noting,
        metric_name="token_accuracy",
    )
    engine = make_engine(kind, TrainedModules(make(4)))
    return {"metrics": evaluator.evaluate(engine), "texts": texts}
