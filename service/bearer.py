"""Who may give orders: whoever brings OPS_TOKEN."""

import falcon
from pydantic import SecretStr

from mirt.channels.webhook import same_secret


class Bearer:
    """The bearer token of operators. Without one configured nobody is let in."""

    def __init__(self, token: SecretStr | None) -> None:
        self._token = token

    def require(self, req: falcon.Request) -> None:
        """Let the request pass if it brings the token; compared in constant time.

        Raises:
            falcon.HTTPUnauthorized: it does not.
        """
        scheme, _, given = (req.get_header("Authorization") or "").partition(" ")
        right = self._token is not None and same_secret(given.strip(), self._token)
        if not right or scheme.lower() != "bearer":
            raise falcon.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
