"""`prefboost demo`: the main job on real input, small enough for two cores and no network."""

from prefboost.runs.demo.demo import Demo, DemoReport, run_demo

__all__ = ["Demo", "DemoReport", "run_demo"]
