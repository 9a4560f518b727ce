"""Pretrain an embedded toy model, or measure what its pretraining is worth.

``python -m scripts.pretrain_toy --model roberta|t5|llama`` writes the model's folder below
``apt_core/data/assets``; ``--compare`` fine-tunes those weights beside random ones and prints the
tables of docs/toy.md. One core, minutes.
"""

import argparse
import logging
from pathlib import Path

import torch

from scripts import compare_encoder, compare_generative, compare_toy, toy_roberta
from scripts.toy_generative import build_tokenizer, save
from scripts.toy_pretraining import pretrain

ASSETS = Path(__file__).parents[1] / "apt_core" / "data" / "assets"
SEEDS = (1, 2, 3)
COMPARED: dict[str, dict[str, tuple[int, ...]]] = {
    "t5": {"sentiment": SEEDS, "summary": SEEDS[:1], "qa": SEEDS[:1]},
    "llama": {"sentiment": SEEDS, "instruction": SEEDS},
}
"""The tasks of the generative models in the tables, and the seeds of each."""


def compare(model: str, folder: Path) -> None:
    """Print the tables of one model."""
    if model == "roberta":
        compare_toy.compare(folder)
        compare_encoder.compare(folder, ["pairs", "qa"], SEEDS[:1])
        return
    for task, seeds in COMPARED[model].items():
        compare_generative.compare(model, folder, [task], seeds)


def write(model: str, folder: Path, seed: int) -> None:
    """Pretrain one model and write its files."""
    if model == "roberta":
        toy_roberta.save(toy_roberta.pretrain(seed), folder)
    else:
        save(pretrain(model, seed), build_tokenizer(model), folder)


def main() -> None:
    """Parse the command line and do one of the two jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=("roberta", "t5", "llama"), default="roberta")
    parser.add_argument("--compare", action="store_true", help="measure instead of pretraining")
    parser.add_argument(
        "--output", type=Path, help="folder of the model; default: the packaged one"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    folder = args.output or ASSETS / f"toy-{args.model}"
    if args.compare:
        compare(args.model, folder)
    else:
        write(args.model, folder, args.seed)


if __name__ == "__main__":
    main()
