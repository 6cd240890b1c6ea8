"""Settings in the folder of an interrupted run, which only the same settings may continue."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vislab.errors import DataError


def changed_settings(path: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return those settings in a JSON file that differ from `settings`; None if there is no file.

    Raises:
        DataError: The file is damaged, or holds other keys than `settings`.
    """
    try:
        before = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path} is damaged ({reason}), so that nobody knows what the files beside it were made with: remove "
            f"{path.parent} and repeat the command"
        ) from error
    if not isinstance(before, dict) or before.keys() != settings.keys():
        raise DataError(
            f"{path} does not have the settings {', '.join(settings)} of this command: another program or version "
            f"wrote it. Remove {path.parent}, or choose another folder"
        )
    wanted = json.loads(json.dumps(settings))  # with lists for tuples, as in the file
    return {key: before[key] for key in settings if before[key] != wanted[key]}
