"""The version of this service."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _installed_version() -> str:
    try:
        return version("mirt-worker")
    except PackageNotFoundError:  # run from its folder, without an installation
        return "unknown"


VERSION: Final = _installed_version()
