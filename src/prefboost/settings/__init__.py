"""Settings: frozen, closed objects that are at once function arguments and recipe nodes."""

from prefboost.settings.base import Settings, choice, dump_with_kind, kind_of, load_class

__all__ = ["Settings", "choice", "dump_with_kind", "kind_of", "load_class"]
