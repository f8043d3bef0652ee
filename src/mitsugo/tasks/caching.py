"""The cache of decoded photos: what it holds, and emptying it."""

import datetime as dt
from typing import Any

from ..data.cache import Cache, cleared, entries, usual_folder
from ..errors import UsageError, shown

__all__ = ["cache"]


def cache(action: str) -> dict[str, Any]:
    """List what the cache holds, or remove all of it; what another process is making just now stays.

    Raises:
        UsageError: another word than list or clear.
        ResourceError: the folder cannot be written.
    """
    kept = Cache(folder=usual_folder())
    if action == "clear":
        count, freed = cleared(kept)
        return {"folder": str(kept.folder), "removed": count, "bytes": freed}
    if action != "list":
        raise UsageError(f"cache {shown(action)}: expected list or clear")
    found = [
        {
            "key": entry.key,
            "images": entry.contents.images,
            "image_shape": list(entry.contents.shape[1:]),
            "bytes": entry.bytes,
            "used": dt.datetime.fromtimestamp(entry.used, dt.UTC).isoformat(timespec="seconds"),
        }
        for entry in entries(kept)
    ]
    return {"folder": str(kept.folder), "bytes": sum(entry["bytes"] for entry in found), "entries": found}
