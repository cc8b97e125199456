"""The loss that balances the experts of a mixture (arXiv 2101.03961, equations 4 to 6), as TRL's DPO adds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefboost.errors import ModelError, SettingsError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["compute_balance", "choose_balance_weight"]


def choose_balance_weight(model: Any, setting: float | None) -> float:
    """Choose the factor of the balance of a model's experts in the loss; 0 where the model has none.

    Args:
        model: a causal language model of transformers.
        setting: of the user; None is the architecture's ``router_aux_loss_coef``.

    Raises:
        SettingsError: a balance is set, and the model has no experts.
    """
    config = model.config.get_text_config()
    if hasattr(config, "output_router_logits"):
        return float((getattr(config, "router_aux_loss_coef", None) or 0.0) if setting is None else setting)
    if setting:
        raise SettingsError(
            f"router_balance is {setting:g}, but {type(model).__name__} is not a mixture of experts",
            remedy="leave train.router_balance out",
        )
    return 0.0


def compute_balance(model: Any, output: Any, uses: Tensor) -> Tensor:
    """Compute the balance of the experts over some tokens; it is least where all experts are used alike.

    Args:
        model: a mixture of experts.
        output: of its body, called with ``output_router_logits=True`` over N tokens.
        uses: [N] or [S, L], how often each token counts: 0 for padding, more where sequences share it.

    Returns:
        a scalar, differentiable where gradients are on; in balance it is the number of experts per token.

    Raises:
        ModelError: the model does not say how its tokens were routed.
    """
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    config = model.config.get_text_config()
    routed = getattr(output, "router_logits", None)
    experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None)
    if not routed or experts is None:
        raise ModelError(
            f"{type(model).__name__} does not return the routing of its tokens to experts, so their balance is unknown",
            remedy="write train.router_balance: 0",
        )
    balance: Tensor = load_balancing_loss_func(tuple(routed), experts, config.num_experts_per_tok, uses)
    return balance
