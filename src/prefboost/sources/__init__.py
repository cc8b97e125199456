"""Sources of preference data: any file or data set to declared tables."""

from prefboost.settings import Settings
from prefboost.sources.collection import Collection, File, Source
from prefboost.sources.columns import Columns
from prefboost.sources.datasets.helpsteer import HelpSteer
from prefboost.sources.datasets.hh_rlhf import HhRlhf
from prefboost.sources.datasets.nectar import Nectar
from prefboost.sources.datasets.safe_rlhf import SafeRLHF
from prefboost.sources.datasets.skywork import Skywork
from prefboost.sources.datasets.ultrafeedback import UltraFeedback
from prefboost.sources.in_memory import InMemory
from prefboost.sources.read import read, read_batches, resolve_source

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
    "InMemory",
    "Nectar",
    "SafeRLHF",
    "Skywork",
    "Source",
    "UltraFeedback",
    "read",
    "read_batches",
    "resolve_source",
]
