"""Sources of preference data: any file or data set to declared tables."""

from prefboost.settings import Settings
from prefboost.sources.collection import Collection, File, Source
from prefboost.sources.columns import Columns
from prefboost.sources.helpsteer import HelpSteer
from prefboost.sources.hh_rlhf import HhRlhf
from prefboost.sources.nectar import Nectar
from prefboost.sources.read import read, read_batches
from prefboost.sources.safe_rlhf import SafeRLHF
from prefboost.sources.skywork import Skywork
from prefboost.sources.ultrafeedback import UltraFeedback

SOURCES: dict[str, type[Settings]] = {
    "file": File,
    "ultrafeedback": UltraFeedback,
    "nectar": Nectar,
    "helpsteer": HelpSteer,
    "safe_rlhf": SafeRLHF,
    "skywork": Skywork,
    "hh_rlhf": HhRlhf,
}
"""Built-in sources, kind -> settings."""

__all__ = [
    "SOURCES",
    "Collection",
    "Columns",
    "File",
    "HelpSteer",
    "HhRlhf",
    "Nectar",
    "SafeRLHF",
    "Skywork",
    "Source",
    "UltraFeedback",
    "read",
    "read_batches",
]
