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


class Static:
    """Files that never change under their address, which names their version."""

    def __init__(self) -> None:
        self._files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir())}

    def address(self, name: str) -> str:
        """Where this version of a file is."""
        version = hashlib.sha256(self._files[name]).hexdigest()[:12]
        return f"/ops/static/{name}?v={version}"

    def on_get(self, _req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Give a file."""
        if name not in self._files:
            raise falcon.HTTPNotFound
        resp.data = self._files[name]
        resp.content_type = TYPES[Path(name).suffix]
        resp.set_header("Cache-Control", "public, max-age=31536000, immutable")
