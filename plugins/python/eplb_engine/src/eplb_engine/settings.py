"""What the environment says. Every process of an engine has to be told the same."""

import os
from dataclasses import dataclass
from typing import Mapping, Optional

MODES = ("broadcast", "compare")


@dataclass(frozen=True)
class Settings:
    """How a plug-in reaches its planner, and how long it waits."""

    url: str
    """unix:PATH, http://HOST:PORT or https://HOST:PORT"""
    group: str
    """Names the group with the planner; the sizes are added to it."""
    policy: str = "default"
    """What a group is declared with that the planner does not know yet."""
    token: Optional[str] = None
    ca_file: Optional[str] = None
    timeout_ms: float = 100.0
    """For all of a question, from the connection to the last byte of the answer."""
    agreement: str = "broadcast"
    """broadcast: rank 0 asks for all. compare: every rank asks, and digests are compared."""
    reports: bool = True
    """Whether loads and what went live are reported, beside the serving path."""


def read_settings(
    group: str, policy: str = "default", environment: Mapping[str, str] = os.environ
) -> Optional[Settings]:
    """The settings; None where no planner is named. Raises ValueError for what cannot be meant.

    group, policy: what the engine's plug-in takes where the environment says nothing.
    """
    url = environment.get("EPLB_ENGINE_URL", "").strip()
    if not url:
        return None
    if not url.startswith(("unix:", "http://", "https://")):
        raise ValueError(f"EPLB_ENGINE_URL: {url!r} is neither unix:PATH, http:// nor https://")
    timeout_ms = float(environment.get("EPLB_ENGINE_TIMEOUT_MS", "100"))
    if not 1 <= timeout_ms <= 60_000:
        raise ValueError(f"EPLB_ENGINE_TIMEOUT_MS: {timeout_ms} is not from 1 to 60000")
    agreement = environment.get("EPLB_ENGINE_AGREEMENT", "broadcast")
    if agreement not in MODES:
        raise ValueError(f"EPLB_ENGINE_AGREEMENT: {agreement!r} is none of {', '.join(MODES)}")
    return Settings(
        url=url,
        group=environment.get("EPLB_ENGINE_GROUP", group),
        policy=environment.get("EPLB_ENGINE_POLICY", policy),
        token=environment.get("EPLB_ENGINE_TOKEN") or None,
        ca_file=environment.get("EPLB_ENGINE_CA_FILE") or None,
        timeout_ms=timeout_ms,
        agreement=agreement,
        reports=environment.get("EPLB_ENGINE_REPORTS", "1") != "0",
    )
