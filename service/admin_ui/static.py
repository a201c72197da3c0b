"""The script, the style and the icon, from our own origin."""

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
FOR_EVER: Final = ("public", "max-age=31536000", "immutable")


class Static:
    """Files that never change under their address, which names their version.

    While a new version is deployed, its addresses may reach a process that has the one before:
    what that gives is kept by nobody.
    """

    def __init__(self) -> None:
        self._files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir())}
        self._versions = {
            name: hashlib.sha256(content).hexdigest()[:12] for name, content in self._files.items()
        }

    def address(self, name: str) -> str:
        """Where this version of a file is."""
        return f"/ops/static/{name}?v={self._versions[name]}"

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Give a file; for ever, if it is the one that was asked for."""
        if name not in self._files:
            raise falcon.HTTPNotFound
        resp.data = self._files[name]
        resp.content_type = TYPES[Path(name).suffix]
        is_this = req.get_param("v") == self._versions[name]
        resp.cache_control = FOR_EVER if is_this else ("no-store",)
