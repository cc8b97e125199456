"""A pool of models on a Ray cluster: generation, scoring, judging, synthesis and evaluation ask it in their place.

The driver keeps store, keys, budget, progress and the plan of batches; workers only complete and compute. So a dead
worker costs the rows it had, a driver that is started again finds everything else in its store, and the output is that
of one machine. The price is one process through which all rows go: `benchmarks/ray_asking.py` measures how many it can
pass on. Past that, `--shard` gives each of several drivers a pool and a store of its own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from prefboost.engines.budget import Budget
from prefboost.engines.engine import Engine
from prefboost.engines.kinds import EngineSettings
from prefboost.engines.openai.engine import OpenAICompatibleEngine
from prefboost.engines.openai.job_runner import JobRunner
from prefboost.engines.pool import PooledEngine, list_models, work_with
from prefboost.engines.replay import ReplayEngine
from prefboost.errors import RunError, SettingsError
from prefboost.recipes.executors import OnRay
from prefboost.runs.ray.asking_calls import PooledCalls
from prefboost.runs.ray.asking_crew import BatchWorker, Copies, Crew
from prefboost.runs.ray.cluster import load_ray, open_cluster

__all__ = ["RayPool", "count_gpus", "describe_pool", "open_pool", "plan_copies"]

T = TypeVar("T")

_CORES_OF_CALLS = 0.5
"""Cores of a worker that only makes calls: it waits most of the time."""


class RayPool:
    """See `prefboost.engines.pool.Pool`.

    Args:
        budget: of the verb; says what an allowance limits.
        workers: copies of each model; None: as many as the nodes have room for.
        models: models that are open at a time and share the room; 1: the verb opens one after the other.
    """

    def __init__(self, budget: Budget, workers: int | None, models: int = 1) -> None:
        self._budget = budget
        self._workers = workers
        self._models = models
        # By model: whoever opens one again, for another goal or benchmark, finds its weights loaded.
        self._crews: dict[str, Crew] = {}

    def open_engine(self, settings: EngineSettings) -> Engine:
        """See `prefboost.engines.pool.Pool`. Recorded answers, and servers of other kinds, are read by the driver."""
        here = settings.open()
        if isinstance(here, OpenAICompatibleEngine):
            return self.open_calls(here)
        if here.remote or isinstance(here, ReplayEngine):
            return here
        crew = self._start(BatchWorker, self.plan(settings), (_open, (settings,)))
        return cast(Engine, PooledEngine(here, crew))

    def open_model(self, device: str, load: Callable[..., T], arguments: Sequence[Any]) -> T:
        """See `prefboost.engines.pool.Pool`."""
        copies = plan_copies(count_gpus(None, device, _list_nodes()), _list_nodes(), self._workers, self._models)
        crew = self._start(BatchWorker, copies, (load, tuple(arguments)))
        return cast(T, _PooledModel(crew, load))

    def plan(self, settings: Any) -> Copies:
        """Plan the copies of an engine or scorer on the nodes that are there now."""
        nodes = _list_nodes()
        if hasattr(settings, "base_url"):
            # More workers than calls would have none.
            count = min(self._workers or len(nodes), settings.concurrency)
            return Copies(count, 0, _CORES_OF_CALLS)
        gpus = count_gpus(getattr(settings, "tensor_parallel", None), getattr(settings, "device", "cpu"), nodes)
        return plan_copies(gpus, nodes, self._workers, self._models)

    def release(self) -> None:
        """See `prefboost.engines.pool.Pool`."""
        for crew in self._crews.values():
            crew.release()

    def close(self) -> None:
        """End all workers."""
        for crew in self._crews.values():
            crew.close()

    def _start(self, worker: type, copies: Copies, arguments: Sequence[Any]) -> Crew:
        name = repr((worker, copies, arguments))
        if name not in self._crews:
            self._crews[name] = Crew(worker, copies, arguments, self._make_room)
        return self._crews[name]

    def _make_room(self, starting: Crew) -> None:
        """Let models go that a verb has done with, where each may take all of the room."""
        if self._models == 1:
            for crew in self._crews.values():
                if crew is not starting:
                    crew.release()

    def open_calls(self, here: OpenAICompatibleEngine) -> Engine:
        """Open an engine whose calls to a server are made by workers."""
        settings = here.settings
        copies = self.plan(settings)
        if settings.weights is not None and settings.hand_over == "reload" and copies.count > 1:
            raise RunError(
                "several workers would reload the weights of the servers, each while the others ask",
                remedy="leave --executor ray out: one process keeps the servers busy; or hand_over: lora, or --tasks 1",
            )
        # Each worker has its share of every limit, so that all together keep them without asking each other.
        rates = {
            name: None if (rate := getattr(settings, name)) is None else rate / copies.count
            for name in ("requests_per_minute", "tokens_per_minute")
        }
        calls_at_once = settings.concurrency // copies.count
        share = settings.model_copy(update={"concurrency": calls_at_once, **rates})
        key = settings.api_key_env
        environment = {} if key is None else {key: os.environ.get(key, "")}
        crew = self._start(JobRunner, copies, (share, self._budget, environment))
        return cast(Engine, PooledCalls(here, crew, calls_at_once))


class _PooledModel:
    """A model that computes numbers, by the methods of its class; every call goes to a worker that is free."""

    def __init__(self, crew: Crew, load: Any) -> None:
        self._crew = crew
        self._load = load
        self.batches_at_once = crew.at_once

    def __getattr__(self, name: str) -> Any:
        if callable(getattr(self._load, name, None)):
            return lambda *arguments: self._crew.call(name, *arguments)
        value = self._crew.call(name)
        # A property is what it is; it is asked for once.
        setattr(self, name, value)
        return value


def _open(settings: EngineSettings) -> Engine:
    return settings.open()


def _list_nodes() -> list[Mapping[str, float]]:
    """List the resources of every node that is alive and has a core."""
    nodes = [node["Resources"] for node in load_ray().nodes() if node["Alive"]]
    return [node for node in nodes if node.get("CPU", 0) >= 1]


def count_gpus(tensor_parallel: int | None, device: str, nodes: Sequence[Mapping[str, float]]) -> int:
    """Count the GPUs of one copy of a model.

    Args:
        tensor_parallel: GPUs that its layers are split over; None: it is not split.
        device: its setting; auto takes a GPU where the cluster has any.
        nodes: resources of the nodes.

    Raises:
        SettingsError: the device is one GPU of one machine.
    """
    if tensor_parallel is not None:
        return tensor_parallel
    if device.startswith("cuda:"):
        raise SettingsError(
            f"device {device} names one GPU of one machine", remedy="write device=cuda: Ray gives each worker a GPU"
        )
    return int(device == "cuda" or (device == "auto" and any(node.get("GPU", 0) for node in nodes)))


def plan_copies(gpus: int, nodes: Sequence[Mapping[str, float]], workers: int | None, models: int = 1) -> Copies:
    """Plan how many copies of a model run, and what each takes.

    Args:
        gpus: of one copy; 0: it computes on cores, one copy a node unless ``workers`` says otherwise.
        nodes: resources of the nodes.
        workers: copies that are wanted; None: as many as there is room for.
        models: models that share the room.
    """
    if gpus:
        fits = sum(int(node.get("GPU", 0)) // gpus for node in nodes)
        return Copies(workers or max(1, fits // models), gpus, 1.0)
    count = workers or max(1, len(nodes))
    cores = min((int(node["CPU"]) for node in nodes), default=1)
    on_a_node = math.ceil(count / max(1, len(nodes))) * models
    return Copies(count, 0, float(max(1, cores // on_a_node)))


@contextmanager
def open_pool(executor: OnRay, settings: Any, *, one_at_a_time: bool = False) -> Iterator[RayPool]:
    """Let the models of a verb run on a cluster while the block runs.

    Args:
        executor: which cluster, and how many copies of a model.
        settings: of the verb or recipe, with its budget and models.
        one_at_a_time: the verb opens one model after the other, so that each may take all GPUs.

    Raises:
        RunError: the cluster does not answer.
    """
    with open_cluster(executor):
        # Servers share no room of the cluster, and a scorer with a reference has two models.
        loaded = [each for each in list_models(settings) if not hasattr(each, "base_url")]
        models = sum(2 if hasattr(each, "reference") else 1 for each in loaded)
        budget = getattr(settings, "budget", Budget())  # recipes that train on files have none
        pool = RayPool(budget, executor.tasks, 1 if one_at_a_time or len(loaded) < 2 else models)
        try:
            with work_with(pool):
                yield pool
        finally:
            pool.close()


def describe_pool(pool: RayPool, settings: Any) -> Iterator[str]:
    """Describe in a line for each model how many workers it would have, for a dry run."""
    for each in list_models(settings):
        name = getattr(each, "model", None) or getattr(each, "kind", type(each).__name__)
        copies = pool.plan(each)
        calls = ""
        if hasattr(each, "base_url"):
            calls = f", {each.concurrency // copies.count} calls at once each"
        yield f"on the cluster: {name}: {copies}{calls}"
