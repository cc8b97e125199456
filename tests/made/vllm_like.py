"""Stand-ins for `vllm serve` that take new weights by the routes of vLLM, and say in every answer which they have.

Routes, bodies and replies are those of vLLM's documentation (LoRA adapters, sleep mode) and of its routers. A server
that is opened again, as after a crash, has the weights that it was started with, and no adapter.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faulty_server import FaultyServer, _send


@dataclass
class VllmLike(FaultyServer):
    """See `FaultyServer`.

    ``routes``: the server was started with the variables that open the routes for new weights.
    ``fails``: status and body in the place of a load. ``held``: folder of the weights. ``adapters``: name -> folder.
    ``log``: what changed the weights, and the weights of each answer, in order. ``cached``: prompts are cached that
    were computed with older weights.
    """

    routes: bool = True
    fails: tuple[int, Any] | None = None
    held: str = "start"
    adapters: dict[str, str] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    cached: bool = False

    def _list_models(self, writer: asyncio.StreamWriter) -> None:
        self.listings += 1
        _send(writer, 200, {"data": [{"id": name} for name in (*(self.models or ()), *self.adapters)]})

    async def _reply(
        self,
        path: str,
        fields: dict[str, str],
        body: dict[str, Any],
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> bool:
        writer = streams[1]
        if "messages" in body:
            if body["model"] not in (*(self.models or ()), *self.adapters):
                return _send(writer, 404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
            return await super()._reply(path, fields, body, streams)
        if not self.routes:
            return _send(writer, 404, {"detail": "Not Found"})
        if self.fails is not None and path != "/reset_prefix_cache":
            return _send(writer, *self.fails)
        return _send(writer, *self._change(path, body))

    def _change(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/load_lora_adapter":
            name, folder = body["lora_name"], body["lora_path"]
            if name in self.adapters:
                message = f"The lora adapter '{name}' has already been loaded."
                return 400, {"error": {"message": message, "type": "InvalidUserInput", "code": 400}}
            if not Path(folder).is_dir():
                return 404, {
                    "error": {"message": f"No adapter found for {folder}", "type": "NotFoundError", "code": 404}
                }
            self.adapters[name] = folder
            self.log.append(("load", folder))
            return 200, f"Success: LoRA adapter '{name}' added successfully."
        if path == "/v1/unload_lora_adapter":
            self.log.append(("unload", self.adapters.pop(body["lora_name"])))
            return 200, f"Success: LoRA adapter '{body['lora_name']}' removed successfully."
        if path == "/reset_prefix_cache":
            self.cached = False
            self.log.append(("reset", self.held))
            return 200, ""
        assert (path, body["method"]) == ("/collective_rpc", "reload_weights")
        self.held, self.cached = body["kwargs"]["weights_path"], True
        self.log.append(("reload", self.held))
        return 200, {"results": [None]}

    def _good(self, path: str, body: dict[str, Any], prompt: str) -> dict[str, Any]:
        weights = self.adapters.get(body["model"], self.held)
        assert not self.cached, "prompts that were cached with old weights would be used"
        self.log.append(("answer", weights))
        reply = super()._good(path, body, prompt)
        for choice in reply["choices"]:
            choice["message"]["content"] += f" by {weights}"
        return reply
