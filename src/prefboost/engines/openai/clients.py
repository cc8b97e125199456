"""Connections to one server: a key that goes to one address alone, and as little machinery around a call as can be."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefboost.errors import SettingsError, require_extra
from prefboost.settings.secrets import without_secrets

if TYPE_CHECKING:
    import httpcore
    import httpx

    from prefboost.engines.openai.pacing import CallLimits

__all__ = ["CONNECT_S", "Clients", "Reply", "check_addresses", "client_for", "read_key"]

CONNECT_S = 10.0
"""Seconds in which a connection is made, or the server is not there."""

COMMAND_S = 1800.0
"""Seconds in which a server loads weights from a shared disk."""

_KEEP_S = 5.0
"""Seconds after which a connection that nobody uses is closed, as httpx does: many servers and proxies close such
connections themselves, and a call that is sent at this moment is lost."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
"""Made once: `json.dumps` makes one for every call where its options are not the default."""
_ESCAPING_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Reply:
    """A server's reply, read to its end.

    Args:
        status_code: of HTTP.
        headers: by lower-case name.
        content: the body, decompressed.
    """

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class Clients:
    """As many connections as calls may be made at once, each for one call at a time; for one event loop.

    A call goes straight to a connection of httpcore, on which httpx is built. httpx looks through all connections of
    a pool for every call, and asks the system about idle ones: with 256 in one pool that is nine tenths of a call's CPU
    time. Pool, redirects, cookies, authentication and the classes for request and reply are still half of it where
    each pool has two connections (`benchmarks/calls.py`), and a call here needs none of them. Where the environment
    names a proxy, httpx makes the calls, since it knows all kinds of them.

    Args:
        base_url: the server's address.
        key: sent as bearer token; None sends none.
        limits: calls at once, and time-outs.

    Raises:
        MissingExtra: httpx is not installed.
    """

    def __init__(self, base_url: str, key: str | None, limits: CallLimits) -> None:
        httpx = _import_httpx()
        # The context that checks certificates costs more than all else of a client, so connections share it.
        context = httpx.create_ssl_context(trust_env=not _is_loopback(base_url))
        # What does not change between calls is put together once, by httpx itself: servers see the call that they know.
        self._client = client_for(base_url, key, limits, 1, context)
        self._address = httpx.URL(base_url)
        self._targets: dict[str, _Target] = {}
        is_proxied = not _is_loopback(base_url) and not {"http", "https", "all"}.isdisjoint(urllib.request.getproxies())
        self._connections: list[_Connection | _ProxiedConnection] = [
            _ProxiedConnection(client_for(base_url, key, limits, 1, context))
            if is_proxied
            else _Connection(context, self._client.timeout.connect)
            for _ in range(limits.concurrency)
        ]
        # The connection that was free last is taken first, so that few calls at once keep few connections warm.
        self._free: asyncio.LifoQueue[_Connection | _ProxiedConnection] = asyncio.LifoQueue()
        for connection in reversed(self._connections):
            self._free.put_nowait(connection)

    @property
    def base_url(self) -> httpx.URL:
        """The server's address."""
        return self._client.base_url

    async def post(self, path: str, *, json: Any) -> Reply:
        """Send a body as JSON to a path below the address.

        Raises:
            httpx.HTTPError: there is no reply, or it breaks off.
        """
        # A run asks one or two paths, so addresses and headers are worked out once and not once per call.
        target = self._targets.get(path)
        if target is None:
            target = self._targets[path] = _Target.of(self._client.build_request("POST", self._locate(path)))
        try:
            body = _ENCODER.encode(json).encode()
        except UnicodeEncodeError:
            # Half of a character, as texts hold it that were cut, is written as an escape: a row is no reason to stop.
            body = _ESCAPING_ENCODER.encode(json).encode()
        connection = await self._free.get()
        try:
            return await connection.send(target, body)
        finally:
            self._free.put_nowait(connection)

    async def get(self, path: str) -> Reply:
        """Get what stands at a path below the address.

        Raises:
            httpx.HTTPError: there is no reply, or it breaks off.
        """
        response = await self._client.get(self._locate(path))
        return Reply(response.status_code, response.headers, response.content)

    async def command(self, path: str, body: Any, *, from_root: bool = False) -> Reply:
        """Post a body that changes the server, which may take minutes.

        Args:
            path: below the address.
            body: sent as JSON.
            from_root: the path begins where the address has ``/v1``.

        Raises:
            httpx.HTTPError: there is no reply, or it breaks off.
        """
        url = self._locate(path)
        if from_root:
            url = self._address.copy_with(path=self._address.path.rstrip("/").removesuffix("/v1") + path)
        response = await self._client.post(url, json=body, timeout=COMMAND_S)
        return Reply(response.status_code, response.headers, response.content)

    async def aclose(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            await connection.aclose()
        await self._client.aclose()

    def _locate(self, path: str) -> httpx.URL:
        # A query of the address, as Azure has it, stays behind the path.
        url: httpx.URL = self._address.copy_with(path=self._address.path.rstrip("/") + path)
        return url


@dataclass(frozen=True)
class _Target:
    """An address that calls go to, with all their headers but the one of the body's length."""

    address: httpx.URL
    url: httpcore.URL
    headers: list[tuple[bytes, bytes]]

    @classmethod
    def of(cls, request: httpx.Request) -> _Target:
        import httpcore

        url = request.url
        fields = [pair for pair in request.headers.raw if pair[0].lower() != b"content-length"]
        return cls(
            url,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            [*fields, (b"Content-Type", b"application/json")],
        )


class _Connection:
    """A connection that is made when it is needed, and made anew when it has ended."""

    def __init__(self, context: ssl.SSLContext, connect_s: float | None) -> None:
        self._context = context
        # How long a call may take in all is bounded by its caller; timers for single reads would cost more.
        self._extensions = {"timeout": {"connect": connect_s}}
        self._http: httpcore.AsyncHTTPConnection | None = None

    async def send(self, target: _Target, body: bytes) -> Reply:
        import httpcore
        import httpx

        headers = [*target.headers, (b"Content-Length", b"%d" % len(body))]
        request = httpcore.Request(b"POST", target.url, headers=headers, content=body, extensions=self._extensions)
        try:
            http = self._http
            # The system is asked whether the server has hung up meanwhile: a call on such a connection would be lost.
            if http is not None and not http.is_closed() and http.has_expired():
                await http.aclose()
            if http is None or http.is_closed():
                # Nothing is sent yet: the first call on it connects, within its own time-out.
                origin = target.url.origin
                http = httpcore.AsyncHTTPConnection(origin, ssl_context=self._context, keepalive_expiry=_KEEP_S)
                self._http = http
            response = await http.handle_async_request(request)
            try:
                content = await response.aread()
            finally:
                # Also a reply that is read to its end is closed: else the connection would never be free again.
                await response.aclose()
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            # httpx gives each of them the same name, and callers need to know one library alone.
            raise getattr(httpx, type(error).__name__)(str(error)) from error
        # A field that is sent twice keeps its last value: none of those that are read here may be.
        fields = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
        if "content-encoding" in fields:
            # httpx asks for the encodings that it can read, and its reply reads them.
            content = httpx.Response(response.status, headers=response.headers, content=content).content
        return Reply(response.status, fields, content)

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()


class _ProxiedConnection:
    """A client of httpx with one connection, through a proxy or, where the environment says so, past it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, target: _Target, body: bytes) -> Reply:
        response = await self._client.post(target.address, headers=target.headers, content=body)
        return Reply(response.status_code, response.headers, response.content)

    async def aclose(self) -> None:
        await self._client.aclose()


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
    library = _import_httpx()
    most = connections or limits.concurrency
    client: httpx.AsyncClient = library.AsyncClient(
        base_url=base_url,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=library.Timeout(limits.timeout_s, connect=min(CONNECT_S, limits.timeout_s), pool=None),
        limits=library.Limits(max_connections=most, max_keepalive_connections=most),
        # A proxy of the environment cannot reach loopback of this machine.
        trust_env=not _is_loopback(base_url),
        verify=True if context is None else context,
    )
    return client


def check_addresses(addresses: Sequence[str]) -> list[str]:
    """Return addresses of servers without a slash at their ends.

    Raises:
        ValueError: one is no address, holds a key, or stands twice.
    """
    plain = [address.rstrip("/") for address in addresses]
    for address in plain:
        if not address.startswith(("http://", "https://")):
            raise ValueError("an address begins with http:// or https://")
        if "@" in address or without_secrets(address) != address:
            raise ValueError("an address may hold no key or password; name an environment variable in api_key_env")
    if len(set(plain)) < len(plain):
        raise ValueError("an address stands twice")
    return plain


def _import_httpx() -> Any:
    with require_extra("httpx", "openai"):
        import httpx
    return httpx


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
            f"the environment variable {variable} for the server's key is not set",
            remedy=f"export {variable}=..., or set api_key_env to null for a server without keys",
        )
    return key
