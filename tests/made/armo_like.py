"""A reward model with an output of its own, as ArmoRM has: a scalar, gated by the prompt, over several objectives.

The file is also copied into a checkpoint, as the code that the checkpoint brings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaModel, LlamaPreTrainedModel
from transformers.utils import ModelOutput


class ArmoLikeConfig(LlamaConfig):
    """A type that transformers does not know."""

    model_type = "armo_like"


@dataclass
class ArmoLikeOutput(ModelOutput):
    """``score`` [S] is what ranks; ``rewards`` [S, 3] what it is made of; ``logits`` is something else."""

    logits: torch.Tensor | None = None
    rewards: torch.Tensor | None = None
    score: torch.Tensor | None = None


class ArmoLike(LlamaPreTrainedModel):
    """Three objectives of which ``num_labels`` knows nothing."""

    config_class = ArmoLikeConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = LlamaModel(config)
        self.regression_layer = torch.nn.Linear(config.hidden_size, 3, bias=False)
        self.gating = torch.nn.Linear(config.hidden_size, 3, bias=False)
        self.post_init()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> ArmoLikeOutput:
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        last = hidden[torch.arange(len(hidden)), mask.sum(-1) - 1]
        rewards = self.regression_layer(last)
        score = (rewards * self.gating(hidden[:, 0]).softmax(-1)).sum(-1)
        return ArmoLikeOutput(logits=rewards[:, :1] * 0.0, rewards=rewards, score=score)
