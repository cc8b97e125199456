"""HTTP clients of one server: a key that goes to one address alone, and pools small enough to cost little."""

from __future__ import annotations

import json
import os
import ssl
from typing import TYPE_CHECKING, Any

from prefboost.errors import MissingExtra, SettingsError

if TYPE_CHECKING:
    import httpx

    from prefboost.engines.openai.calls import CallLimits

__all__ = ["CONNECT_S", "Clients", "client_for", "read_key"]

CONNECT_S = 10.0
"""Seconds in which a connection is made, or the server is not there."""

_CONNECTIONS = 2
"""Connections of a pool. For every call httpx looks through all connections of a pool, and asks the system about idle
ones: with 256 in one pool that is four fifths of a call's CPU time, with 8 still a quarter (`benchmarks/calls.py`)."""


class Clients:
    """As many clients as it takes to make some calls at once, each with a few connections; for one event loop.

    Args:
        base_url: the server's address.
        key: sent as bearer token; None sends none.
        limits: calls at once, and time-outs.

    Raises:
        MissingExtra: httpx is not installed.
    """

    def __init__(self, base_url: str, key: str | None, limits: CallLimits) -> None:
        context = _ssl_context(base_url)
        import httpx

        sizes = [min(_CONNECTIONS, limits.concurrency - start) for start in range(0, limits.concurrency, _CONNECTIONS)]
        self._clients = [client_for(base_url, key, limits, size, context) for size in sizes]
        # The connection that was free last is taken first, so that few calls at once keep few connections warm.
        first, self._address = self._clients[0], httpx.URL(base_url)
        self._headers = first.headers.copy()
        self._headers["Content-Type"] = "application/json"
        self._timeouts = first.timeout.as_dict()
        self._urls: dict[str, httpx.URL] = {}
        self._free = [client for client, size in zip(self._clients, sizes, strict=True) for _ in range(size)][::-1]

    @property
    def base_url(self) -> httpx.URL:
        """The server's address."""
        return self._clients[0].base_url

    async def post(self, path: str, *, json: Any) -> httpx.Response:
        """Send a body as JSON to a path below the address."""
        import httpx

        client = self._free.pop() if self._free else None
        url = self._urls.get(path)
        if url is None:
            # A query of the address, as Azure has it, stays behind the path.
            url = self._urls[path] = self._address.copy_with(path=self._address.path.rstrip("/") + path)
        # The same as client.post(), which would put address, headers and time-outs together anew for every call.
        request = httpx.Request(
            "POST", url, headers=self._headers, content=_encode_body(json), extensions={"timeout": self._timeouts}
        )
        try:
            return await (client or self._clients[0]).send(request)
        finally:
            if client is not None:
                self._free.append(client)

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.aclose()


def _encode_body(body: Any) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        # Half of a character, as texts hold it that were cut, is written as an escape: a row is no reason to stop.
        return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def client_for(
    base_url: str,
    key: str | None,
    limits: CallLimits,
    connections: int | None = None,
    context: ssl.SSLContext | None = None,
) -> httpx.AsyncClient:
    """Make a client with the key in its headers, which follows no redirect (a key goes to one address alone).

    Args:
        base_url: the server's address.
        key: sent as bearer token; None sends none.
        limits: time-outs, and calls at once.
        connections: most connections, where not as many as calls.
        context: how certificates are checked, where that is made already.

    Raises:
        MissingExtra: httpx is not installed.
    """
    try:
        import httpx
    except ImportError as error:
        raise MissingExtra("httpx", "openai") from error
    most = connections or limits.concurrency
    return httpx.AsyncClient(
        base_url=base_url,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(limits.timeout_s, connect=min(CONNECT_S, limits.timeout_s), pool=None),
        limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
        trust_env=not _is_loopback(base_url),
        verify=True if context is None else context,
    )


def _ssl_context(base_url: str) -> ssl.SSLContext:
    """Create the context that checks certificates; it costs more than all else of a client, so clients share it."""
    try:
        import httpx
    except ImportError as error:
        raise MissingExtra("httpx", "openai") from error
    return httpx.create_ssl_context(trust_env=not _is_loopback(base_url))


def _is_loopback(base_url: str) -> bool:
    import httpx

    return httpx.URL(base_url).host in ("localhost", "127.0.0.1", "::1")


def read_key(variable: str | None) -> str | None:
    """Read a server's key from an environment variable; None where none is named.

    Raises:
        SettingsError: the variable is not set.
    """
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise SettingsError(
            f"the environment variable {variable}, which is to hold the server's key, is not set",
            remedy=f"export {variable}=..., or set api_key_env to null for a server without keys",
        )
    return key
