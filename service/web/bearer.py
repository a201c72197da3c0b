"""Who may give orders: whoever brings OPS_TOKEN."""

import falcon
from pydantic import SecretStr

from mirt.channels.webhook import same_secret
from service.web.login_throttle import LoginThrottle, TooManyAttempts


class Bearer:
    """The bearer token of operators. Without one configured nobody is let in."""

    def __init__(self, token: SecretStr | None, attempts: LoginThrottle) -> None:
        self._token = token
        self._attempts = attempts

    def require(self, req: falcon.Request) -> None:
        """Let the request pass if it brings the token; compared in constant time.

        Raises:
            falcon.HTTPUnauthorized: it does not.
            falcon.HTTPTooManyRequests: too many wrong ones came from there.
        """
        scheme, _, given = (req.get_header("Authorization") or "").partition(" ")
        is_right = False
        if self._token is not None and scheme.lower() == "bearer":
            is_right = same_secret(given.strip(), self._token)
            try:
                self._attempts.check(req, is_right=is_right)
            except TooManyAttempts as wait:
                raise falcon.HTTPTooManyRequests(retry_after=wait.retry_after) from None
        if not is_right:
            raise falcon.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
