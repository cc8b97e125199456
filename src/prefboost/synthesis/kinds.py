"""Every built-in method."""

from __future__ import annotations

from prefboost.settings import Settings
from prefboost.synthesis.edits import Clair, RMBoost
from prefboost.synthesis.rlaif import RLAIF
from prefboost.synthesis.rlcd import RLCD
from prefboost.synthesis.ultrafeedback import UltraFeedbackPairs
from prefboost.synthesis.west_of_n import WestOfN

__all__ = ["METHODS"]

METHODS: dict[str, type[Settings]] = {
    "rmboost": RMBoost,
    "rlaif": RLAIF,
    "rlcd": RLCD,
    "west_of_n": WestOfN,
    "clair": Clair,
    "ultrafeedback": UltraFeedbackPairs,
}
"""Built-in methods, kind -> settings."""
