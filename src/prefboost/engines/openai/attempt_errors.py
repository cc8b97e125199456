"""Troubles of calls, sorted by who can help: time, the account's owner, nobody, or another setting."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prefboost.engines.openai.pacing import retry_after_s

__all__ = ["Evidence", "AttemptError", "TroubleKind", "message_of", "trouble_inside", "classify_reply_error"]

TroubleKind = Literal["connection", "passing", "reply", "unavailable", "address", "account", "refused", "content"]
"""connection: no reply at all. passing: a reply that time may cure. reply: a good one that cannot be read. unavailable:
a good one without the log-probs that were asked for. address: no such model or path here. account: key, quota or
payment, which stops every row. refused: this request, as it is set up. content: this row's text."""

_ADDRESS = frozenset({404, 405, 410, 421})
"""Statuses, besides redirects, of a wrong address or model; of a server that reloads, once it has replied well.
A reply of another status that says there is no such model means the same."""
_PASSING = frozenset({403, 408, 409, 423, 424, 425, 429})
"""Statuses that may pass, besides 5xx. 403 without a word on the account: firewalls give it to single calls."""

_ACCOUNT = re.compile(
    r"insufficient[\s_]?(quota|funds|balance|credits?|permissions?)|credit balance|(out of|not enough|no) credits|"
    r"billing|payment|current quota|quota (has been )?(exceeded|exhausted)|(exceeded|over) (your|the|its) (\w+ )?quota|"
    r"spend(ing)?[\s_]limit|api usage limit|"
    r"(invalid|incorrect|expired|missing|revoked|unknown|wrong|no)[\s_](api|access|auth\w*)[\s_-]?(key|token)|"
    r"(api|access)[\s_-]?(key|token)[\w\s]{0,20}(invalid|not valid|expired|missing|revoked|required)|"
    r"authentication|unauthori[sz]ed|permission[\s_]?(denied|error)|not (have|allowed) (permission|access)|"
    r"(account|organi[sz]ation|project|workspace)[\w\s]{0,30}"
    r"(suspended|deactivated|disabled|terminated|inactive|not active|arrears|overdue)|arrearage|good standing|"
    r"(key|credit|usage|monthly|spend\w*)[\s_]limit[\w\s]{0,10}(exceeded|reached)|"
    r"(monthly|included|free|prepaid) credits|not subscribed|(access|auth\w*)? ?token (has )?expired|"
    r"(country|region|territory|location)[\w\s,]{0,40}not (supported|available|allowed)|unsupported_country",
    re.IGNORECASE,
)
_CONTENT = re.compile(
    r"content[\s_-]?(policy|filter|management|moderation)|content_(blocked|violation)|moderation|"
    r"safety[\s_](system|filters?|reasons?|settings?|policy|policies)|responsible\s?ai|"
    r"(flagged|blocked)[\w\s]{0,30}(unsafe|harm|violat|content|safety)|violat\w* [\w\s']{0,40}polic(y|ies)|"
    r"(unsafe|harmful|inappropriate|sensitive|prohibited|offensive)[\s_](content|words?|material|text|input|prompt)|"
    r"data_inspection",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model_not_found|(unknown|invalid|no such) model\b|not a valid model|"
    r"\bmodel\b[^.\n]{0,120}\b(not exist|not found|not be found)\b",
    re.IGNORECASE,
)
_BUSY = re.compile(
    r"(try|retry)( your request)?( again)? (later|shortly|soon|after|in a)|please retry|temporar|overload|"
    r"(at|over) capacity|(server|engine|model)[\w\s]{0,20}(busy|loading|starting|warming|initiali[sz]ing|not ready)|"
    r"upstream (connect|request|server)|connection (reset|refused|termination)|timed out|too many requests",
    re.IGNORECASE,
)
"""Words of proxies and small servers for passing trouble under a status that blames the request."""
_MARKUP = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^<>]*>", re.IGNORECASE | re.DOTALL)

_ENOUGH: Mapping[TroubleKind, int] = {"account": 3, "connection": 3, "passing": 8, "address": 8}
"""Rows that end in the same kind of trouble, nothing answered in between, with which the run is stopped.

Fewer where a row cannot be at fault. Firewalls and servers that crash on one prompt single rows out: at a share of one
in five, eight in succession come up once in 400,000 rows."""

_NEVER_ANSWERED = 32
"""Rows, besides two for every call at once, that are refused or cannot be read in succession, nothing answered ever,
with which the run is stopped: the setting is at fault. Schemas that a server refuses are left out within fewer."""


@dataclass
class AttemptError(Exception):
    """An attempt that failed.

    Args:
        reason: what happened, without secrets.
        kind: who can help.
        wait_s: seconds that the server asks to wait.
        billed: the call may be billed.
        status: of HTTP; None where there was no reply.
        page: the reply was a page for people (of a proxy or firewall), no error of the interface.
        may_reload: the path is missing and no word is said of the model: also servers that are starting reply so.
    """

    reason: str
    kind: TroubleKind = "passing"
    wait_s: float | None = None
    billed: bool = False
    status: int | None = None
    page: bool = False
    may_reload: bool = False


class Evidence:
    """Counts rows that ended in trouble since the last good answer; one row alone never condemns a server.

    Args:
        at_once: most calls that are made at a time.
    """

    def __init__(self, at_once: int = 1) -> None:
        # Calls that are out when the first row fails fail for the same reason, and count as one piece of evidence.
        self._never = _NEVER_ANSWERED + 2 * at_once
        self.answered = False
        self.rows: dict[TroubleKind, int] = {}

    def add_answer(self) -> None:
        """Take note of a good answer: whatever was in the way has passed."""
        self.answered = True
        if self.rows:
            self.rows.clear()

    def add_row(self, kind: TroubleKind) -> bool:
        """Take note of a row that ended in trouble; True where that is enough to stop the run."""
        self.rows[kind] = self.rows.get(kind, 0) + 1
        never = self._never if kind in ("reply", "refused") and not self.answered else float("inf")
        return self.rows[kind] >= _ENOUGH.get(kind, never)


def classify_reply_error(
    status: int, headers: Mapping[str, str], content: bytes, redact: Callable[[str], str]
) -> AttemptError:
    """Sort a reply of status 3xx, 4xx or 5xx into a kind of failed attempt.

    Args:
        status: of HTTP.
        headers: of the reply, by lower-case name.
        content: the body.
        redact: takes secrets out of a text.
    """
    # A page for people comes from whatever stands before the server, so that its words say nothing of the row.
    message, code, page = "", "", False
    try:
        reply = json.loads(content)
    except (ValueError, RecursionError):
        # Pages of firewalls run to megabytes of script, and the first words tell what it is.
        text = content[:20_000].decode("utf-8", "replace")
        page = "<" in text[:200]
        message = " ".join((_MARKUP.sub(" ", text) if page else text).split())
    else:
        error = reply.get("error", reply) if isinstance(reply, Mapping) else None
        error = error if isinstance(error, Mapping) else {}
        # Azure names the filter that refused in here.
        inner = error.get("innererror")
        within = inner.get("code") if isinstance(inner, Mapping) else None
        codes = (error.get("code"), error.get("type"), error.get("status"), within)
        message, code = " ".join(message_of(reply).split()), " ".join(str(each) for each in codes if each)
    reason = redact(f"HTTP {status}: {message}") if message else f"HTTP {status}, and not a word of why"
    kind = _kind_of(status, message, code, page)
    # A wait that is asked for beside a refusal would only delay the report of it.
    wait = retry_after_s(headers) if kind in ("passing", "address") else None
    may_reload = status == 404 and not _NO_MODEL.search(f"{code} {message}")
    return AttemptError(reason, kind, wait_s=wait, status=status, page=page, may_reload=may_reload)


def trouble_inside(reply: Mapping[str, Any], headers: Mapping[str, str], redact: Callable[[str], str]) -> AttemptError:
    """Sort an error inside a reply of status 200: like a reply of the status that the error names.

    Args:
        reply: the body, with a field ``error``.
        headers: of the reply, by lower-case name.
        redact: takes secrets out of a text.
    """
    error = reply["error"]
    # Gateways put an error of the server behind them into a reply of their own, which is a good one.
    codes = [error.get(name) for name in ("code", "status", "status_code")] if isinstance(error, Mapping) else []
    status = next((int(code) for code in map(str, codes) if code.isdecimal() and 400 <= int(code) < 600), None)
    attempt_error = (
        AttemptError("")
        if status is None
        else classify_reply_error(status, headers, json.dumps(reply).encode(), redact)
    )
    attempt_error.reason = redact(f"an error in a good reply: {message_of(reply)}")
    # The status says that the call was served.
    attempt_error.billed = True
    return attempt_error


def _kind_of(status: int, message: str, code: str, page: bool) -> TroubleKind:
    # The order is that of how sure a sign is: a status of its own, then a code, then words of a message.
    if status in (401, 402):
        return "account"
    if status < 400 or status in _ADDRESS:
        return "address"
    # Also of a rate limit servers say "quota" and "billing": only the code tells.
    if status == 429 or status >= 500:
        return "account" if "insufficient_quota" in code or "billing" in code else "passing"
    if not page and (status == 451 or _CONTENT.search(f"{code} {message}")):
        return "content"
    if not page and _ACCOUNT.search(f"{code} {message}"):
        return "account"
    # Some servers say it under a 400 or a 422, where it would look like a refusal of the row.
    if not page and _NO_MODEL.search(f"{code} {message}"):
        return "address"
    return "passing" if status in _PASSING or _BUSY.search(message) else "refused"


def message_of(reply: Any) -> str:
    """Read the message of an error body; servers shape it differently."""
    error = reply
    # Google's servers wrap an error in a list, FastAPI's in `detail`, others in `errors` or `msg`.
    if isinstance(reply, list) and reply:
        error = reply[0]
    if isinstance(error, Mapping):
        error = error.get("error") or error.get("errors") or error
    if isinstance(error, Mapping):
        error = error.get("message") or error.get("detail") or error.get("msg") or error
    return "" if error in (None, "", {}, []) else error if isinstance(error, str) else json.dumps(error)
