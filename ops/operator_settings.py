"""Settings for a command run beside `farmlokal up`, which chose some that nobody gave."""

from __future__ import annotations

from coordination.settings import Settings, load_settings
from ops.embedded_redis import URL_FILE, names_redis
from ops.home import SERVICES_FILE

__all__ = ["load_operator_settings"]


def load_operator_settings() -> Settings:
    """As ``load_settings``, with what `farmlokal up` keeps in ``FARMLOKAL_HOME``.

    The embedded Redis, the secrets, and the services that the sandbox plays, each only where it was
    not given. Raises ``Misconfigured``.
    """
    settings = load_settings()
    kept: dict[str, str] = {}
    if not names_redis(settings):
        kept["redis_url"] = _read(settings, URL_FILE)
    for name in ("cursor_secret", "sealing_secret", SERVICES_FILE):
        if name not in settings.model_fields_set:
            kept[name] = _read(settings, name)
    found = {name: value for name, value in kept.items() if value}
    return load_settings(**found) if found else settings


def _read(settings: Settings, name: str) -> str:
    try:
        return (settings.farmlokal_home / name).read_text().strip()
    except OSError:
        return ""
