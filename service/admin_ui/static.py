"""Serve the script, the style and the icon from our own origin."""

import hashlib
from pathlib import Path
from typing import Final

import falcon

FOLDER: Final = Path(__file__).with_name("static")
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
CACHE_FOR_EVER: Final = ("public", "max-age=31536000", "immutable")


class StaticFiles:
    """Static files; the address of each names its version, so browsers may cache it for ever.

    During a deployment a new address may reach a process of the previous version. Its answer is
    marked ``no-store``, so that no cache keeps the wrong version.
    """

    def __init__(self) -> None:
        self._files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir())}
        self._versions = {
            name: hashlib.sha256(content).hexdigest()[:12] for name, content in self._files.items()
        }

    def address(self, name: str) -> str:
        """Return the address of this version of a file."""
        return f"/ops/static/{name}?v={self._versions[name]}"

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Answer a file; cacheable for ever if its version is the requested one."""
        if name not in self._files:
            raise falcon.HTTPNotFound
        resp.data = self._files[name]
        resp.content_type = TYPES[Path(name).suffix]
        is_requested_version = req.get_param("v") == self._versions[name]
        resp.cache_control = CACHE_FOR_EVER if is_requested_version else ("no-store",)
