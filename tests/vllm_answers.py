"""Asks vLLM for its likeliest next tokens; runs in an environment that has vLLM and not aptune.

Reads a job in JSON: ``folder`` of the model, ``prompts`` as lists of tokens, how many tokens to
name (``top``), and ``answers``: the file to write one ``{token: log-probability}`` per prompt to.
"""

import json
import sys
from pathlib import Path

from vllm import LLM, SamplingParams  # type: ignore[import-not-found]


def main(job: dict) -> None:
    model = LLM(
        model=job["folder"],
        dtype="float32",
        enforce_eager=True,
        max_model_len=32,
        max_logprobs=job["top"],
        skip_tokenizer_init=True,
    )
    asked = SamplingParams(temperature=0, max_tokens=1, logprobs=job["top"], detokenize=False)
    prompts = [{"prompt_token_ids": tokens} for tokens in job["prompts"]]
    answers = [answer.outputs[0].logprobs[0] for answer in model.generate(prompts, asked)]
    found = [{token: row[token].logprob for token in row} for row in answers]
    Path(job["answers"]).write_text(json.dumps(found))


if __name__ == "__main__":  # vLLM starts its engine as a process that imports this file again
    main(json.loads(Path(sys.argv[1]).read_text()))
