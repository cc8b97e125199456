"""What keeps the experts of a mixture evenly used (arXiv 2101.03961, equations 4 to 6), as TRL's DPO adds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefboost.errors import ModelError, SettingsError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["compute_balance", "choose_balance_weight"]


def choose_balance_weight(model: Any, asked: float | None) -> float:
    """What the balance of a model's experts is multiplied by before it is added to the loss; 0 where there are none.

    Args:
        model: a causal language model of transformers.
        asked: by the user; None is the architecture's own ``router_aux_loss_coef``.

    Raises:
        SettingsError: it is asked for, and the model has no experts.
    """
    config = model.config.get_text_config()
    if hasattr(config, "output_router_logits"):
        return float((getattr(config, "router_aux_loss_coef", None) or 0.0) if asked is None else asked)
    if asked:
        raise SettingsError(
            f"router_balance is {asked:g}, and {type(model).__name__} is no mixture of experts",
            remedy="leave train.router_balance out",
        )
    return 0.0


def compute_balance(model: Any, output: Any, uses: Tensor) -> Tensor:
    """The balance of the experts over some tokens: 1 times the experts of a token where all are used alike.

    Args:
        model: a mixture of experts.
        output: of its body, called with ``output_router_logits=True`` over N tokens.
        uses: [N] or [S, L], how often each token counts: 0 for padding, more where sequences share it.

    Returns:
        a number, differentiable where gradients are on.

    Raises:
        ModelError: the model does not say how its tokens were routed.
    """
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    config = model.config.get_text_config()
    routed = getattr(output, "router_logits", None)
    experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None)
    if not routed or experts is None:
        raise ModelError(
            f"{type(model).__name__} does not say how its tokens are routed to experts, so their balance is not known",
            remedy="write train.router_balance: 0",
        )
    found: Tensor = load_balancing_loss_func(tuple(routed), experts, config.num_experts_per_tok, uses)
    return found
