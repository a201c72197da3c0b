"""How long each request took, by its route and its status."""

import time
from typing import Any, Final

import falcon

from mirt.observe import metrics

NOWHERE: Final = "none"
"""The route of an address that there is not: addresses are anybody's words."""


class Measuring:
    """Middleware: outermost, so that it measures the others too."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Start the clock."""
        req.context.began = time.perf_counter()

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: Any
    ) -> None:
        """Stop it."""
        metrics.HTTP_SECONDS.observe(
            time.perf_counter() - req.context.began,
            route=req.uri_template or NOWHERE,
            status=str(resp.status_code),
        )
