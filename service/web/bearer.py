"""Authenticate requests to ``/tasks/…`` by the bearer token TASKS_TOKEN, or else OPS_TOKEN."""

import falcon
from pydantic import SecretStr

from mirt.channels.webhook import same_secret
from service.web.login_throttle import LoginThrottle, TooManyAttempts


class Bearer:
    """The bearer token of callers. Without a configured token every request is refused."""

    def __init__(self, token: SecretStr | None, login_throttle: LoginThrottle) -> None:
        self._token = token
        self._login_throttle = login_throttle

    def require(self, req: falcon.Request) -> None:
        """Return if the request carries the token; the comparison takes constant time.

        Raises:
            falcon.HTTPUnauthorized: the token is missing or wrong.
            falcon.HTTPTooManyRequests: too many wrong tokens came from this address.
        """
        scheme, _, given = (req.get_header("Authorization") or "").partition(" ")
        if self._token is not None and scheme.lower() == "bearer":
            if same_secret(given.strip(), self._token):
                return
            try:
                self._login_throttle.refuse(req)
            except TooManyAttempts as refused:
                raise falcon.HTTPTooManyRequests(retry_after=refused.retry_after) from None
        raise falcon.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
