"""What the settings say about themselves."""

from __future__ import annotations

from coordination.settings import (
    DEVELOPMENT_CURSOR_SECRET,
    DEVELOPMENT_SEALING_SECRET,
    Settings,
)
from ops.doctor.finding import Finding, advice, fine

__all__ = ["examine_settings"]

_AREA = "settings"


def examine_settings(settings: Settings) -> list[Finding]:
    """They were valid, or there would be no ``Settings``; these may still surprise."""
    return [
        fine(_AREA, "environment", f"{settings.environment}, home {settings.farmlokal_home}"),
        _secret("CURSOR_SECRET", settings.cursor_secret, DEVELOPMENT_CURSOR_SECRET),
        _secret("SEALING_SECRET", settings.sealing_secret, DEVELOPMENT_SEALING_SECRET),
        _redis_roles(settings),
    ]


def _secret(name: str, secrets: tuple[str, ...], development: str) -> Finding:
    if development in secrets:
        return advice(
            _AREA,
            name,
            "the development secret, which everyone can read",
            f"Set {name} to 32 random characters or more (`farmlokal up` does it).",
        )
    return fine(_AREA, name, f"{len(secrets)} in use")


def _redis_roles(settings: Settings) -> Finding:
    if settings.effective_queue_redis_url == settings.effective_cache_redis_url:
        return advice(
            _AREA,
            "Redis",
            "one server is queue and cache",
            "In production give each its own: QUEUE_REDIS_URL (AOF, noeviction) and CACHE_REDIS_URL"
            " (no persistence, volatile-lru).",
        )
    return fine(_AREA, "Redis", "queue and cache are apart")
