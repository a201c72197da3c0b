"""Add security headers to every answer of the page, errors too."""

from typing import Any, Final

import falcon

CONTENT_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class PageHeaders:
    """Middleware: the browser runs only our own script, and no cache keeps a copy."""

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: Any
    ) -> None:
        """Add the headers to answers below ``/ops``, and to every page at any other address."""
        is_page = (resp.content_type or "").startswith(falcon.MEDIA_HTML.partition(";")[0])
        if is_page or req.path == "/ops" or req.path.startswith("/ops/"):
            resp.set_headers(HEADERS)
            if resp.get_header("Cache-Control") is None:
                resp.set_header("Cache-Control", "no-store")
