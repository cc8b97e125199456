"""Messages to the judge of AlpacaEval 2.

Wording: tatsu-lab/alpaca_eval at cd543a1, `src/alpaca_eval/evaluators_configs/alpaca_eval_clf_gpt4_turbo/
alpaca_eval_clf.txt`, which the configuration `weighted_alpaca_eval_gpt4_turbo` names. Licensed under Apache-2.0 by its
authors; unchanged, but for the names of the three places.
"""

from __future__ import annotations

__all__ = ["SYSTEM", "USER"]

SYSTEM = (
    "You are a highly efficient assistant, who evaluates and selects the best large language model (LLMs) based on the "
    "quality of their responses to a given instruction. This process will be used to create a leaderboard "
    "reflecting the most accurate and human-preferred answers."
)
"""System message."""

USER = '''I require a leaderboard for various large language models. I'll provide you with prompts given to these \
models and their corresponding outputs. Your task is to assess these responses, and select the model that produces \
the best output from a human perspective.

## Instruction

{
    "instruction": """%s""",
}

## Model Outputs

Here are the unordered outputs from the models. Each output is associated with a specific model, identified by a \
unique model identifier.

{
    {
        "model_identifier": "m",
        "output": """%s"""
    },
    {
        "model_identifier": "M",
        "output": """%s"""
    }
}

## Task

Evaluate the models based on the quality and relevance of their outputs, and select the model that generated the best \
output. Answer by providing the model identifier of the best model. We will use your output as the name of the best \
model, so make sure your output only contains one of the following model identifiers and nothing else (no quotes, no \
spaces, no new lines, ...): m or M.

## Best Model Identifier'''
"""User message, with three %s: the instruction, the completion called m, the one called M."""
