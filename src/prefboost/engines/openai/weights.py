"""Weights that servers are given by their address on a shared disk, without a hub: vLLM's adapters, or its reload.

Both ways are vLLM's own and are off unless a server is started with them. An adapter stands in the server's list of
models, so that a server that was started anew is told by its lack of it. A reload changes the weights behind a name, so
that a server which broke off counts as one with the weights that it was started with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefboost.engines.models.weights import fingerprint_of_model
from prefboost.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefboost.engines.openai.clients import Clients, Reply
    from prefboost.engines.openai.engine import OpenAICompatible

__all__ = ["HandOver", "NewWeights", "name_new_weights"]

HandOver = Literal["lora", "reload"]

_PREFIX = "prefboost"
_STARTED_WITH = {
    "lora": "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve MODEL --enable-lora",
    "reload": "VLLM_SERVER_DEV_MODE=1 vllm serve MODEL",
}
_LACKING = (404, 405)
"""Statuses of a server that was started without the routes; vLLM has 404 for a folder without an adapter, too."""


def name_new_weights(settings: OpenAICompatible) -> tuple[NewWeights | None, OpenAICompatible]:
    """Name the weights that settings hand over, and ask for them by that name; settings without any stay as they are.

    The revision tells stored answers of these weights from those of others under the same name.
    """
    if settings.hand_over is None or settings.weights is None:
        return None, settings
    weights = NewWeights(settings.hand_over, settings.weights, settings.model)
    return weights, settings.model_copy(update={"model": weights.name, "revision": weights.fingerprint})


@dataclass(frozen=True)
class NewWeights:
    """Weights in a folder, and the way in which servers take them.

    Args:
        how: as an adapter beside the model that they serve, or in its place.
        folder: on a disk that the servers share, under the same path.
        served: the name of the model that they were started with.
    """

    how: HandOver
    folder: str
    served: str

    @property
    def fingerprint(self) -> str:
        """What tells these weights from others."""
        return fingerprint_of_model(self.folder)

    @property
    def name(self) -> str:
        """The name under which servers answer with these weights."""
        return self.served if self.how == "reload" else f"{self._run}-{self.fingerprint}"

    @property
    def _run(self) -> str:
        """Beginning of the names of all adapters of one run folder, RUN/round-1/model/adapter: others are let alone."""
        folder = Path(self.folder).absolute()
        run = folder.parents[2] if len(folder.parents) > 2 else folder
        return f"{_PREFIX}-{hashlib.sha256(str(run).encode()).hexdigest()[:8]}"

    async def hand_to(self, clients: Clients, models: Sequence[str], redact: Callable[[str], str]) -> str:
        """Give the weights to one server.

        Args:
            clients: of the server.
            models: those that it lists.
            redact: takes secrets out of a text.

        Returns:
            why it does not take them; empty where it has them now.

        Raises:
            ModelError: it was started without the routes that this needs.
            httpx.HTTPError: there is no reply, or it breaks off.
        """
        if self.how == "lora":
            if self.name in models:
                return ""
            body: dict[str, Any] = {"lora_name": self.name, "lora_path": str(Path(self.folder).absolute())}
            reply = await clients.command("/load_lora_adapter", body)
            # Another process of this run may have been first.
            if not (reply.status_code < 300 or (reply.status_code == 400 and b"already been loaded" in reply.content)):
                return self._explain(reply, clients, redact)
            for old in models:
                if old.startswith(f"{self._run}-"):
                    # Only its memory is wanted back: a server that keeps the adapter of an old round is no worse.
                    await clients.command("/unload_lora_adapter", {"lora_name": old})
            return ""
        # A folder as the server sees it; a hub id names what the server was started with, and so has in its cache.
        place = str(Path(self.folder).absolute()) if Path(self.folder).is_dir() else self.folder
        body = {"method": "reload_weights", "kwargs": {"weights_path": place}}
        reply = await clients.command("/collective_rpc", body, from_root=True)
        if reply.status_code < 300:
            # What is cached of prompts was computed with the old weights. Older servers reply without a body.
            reply = await clients.command("/reset_prefix_cache", {}, from_root=True)
            if reply.status_code < 300 and b'"success":false' not in reply.content.replace(b" ", b""):
                return ""
        return self._explain(reply, clients, redact)

    def _explain(self, reply: Reply, clients: Clients, redact: Callable[[str], str]) -> str:
        if reply.status_code in _LACKING and b"adapter" not in reply.content:
            raise ModelError(
                f"the server at {clients.base_url} takes no new weights (HTTP {reply.status_code})",
                remedy=f"start it as `{_STARTED_WITH[self.how]}`, or leave it out of base_urls",
            )
        try:
            error: Any = loads(reply.content)
            text = str(error.get("message") or error.get("error") or error.get("detail") or error)
        except (ValueError, AttributeError):
            text = reply.content.decode("utf-8", "replace")
        return redact(f"takes no new weights: HTTP {reply.status_code} {text}")
