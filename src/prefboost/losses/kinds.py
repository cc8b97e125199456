"""Single losses by their kind, which recipes name."""

from __future__ import annotations

from prefboost.losses.dpo import DPO, DiscoPOP, Hinge, RobustDPO
from prefboost.losses.exo import EXOPair
from prefboost.losses.reference_free import CPO, ORPO, SFT, SimPO
from prefboost.losses.score_aware import RPO, MarginDPO
from prefboost.losses.squared import IPO, SPPOHard
from prefboost.losses.transport import AOT, AOTUnpaired
from prefboost.losses.unpaired import APODown, APOZero, BCOPair, KTOPair, NCAPair
from prefboost.settings import Settings

__all__ = ["SINGLE_LOSSES"]

SINGLE_LOSSES: dict[str, type[Settings]] = {
    "dpo": DPO,
    "robust": RobustDPO,
    "ipo": IPO,
    "hinge": Hinge,
    "simpo": SimPO,
    "orpo": ORPO,
    "cpo": CPO,
    "kto_pair": KTOPair,
    "exo_pair": EXOPair,
    "nca_pair": NCAPair,
    "bco_pair": BCOPair,
    "apo_zero": APOZero,
    "apo_down": APODown,
    "sppo_hard": SPPOHard,
    "aot": AOT,
    "aot_unpaired": AOTUnpaired,
    "discopop": DiscoPOP,
    "rpo": RPO,
    "margin_dpo": MarginDPO,
    "sft": SFT,
}
"""Every loss that is not composed of others."""
