"""Map the token of an operator to a role."""

from collections.abc import Mapping
from enum import StrEnum

from mirt.channels.webhook import same_secret
from mirt.settings import Settings


class Role(StrEnum):
    """The rights of an operator."""

    OPERATOR = "operator"
    """Reads and changes everything."""
    READER = "reader"
    """Reads everything, changes nothing."""


class Tokens:
    """The configured token of each role. Without any token the page is off."""

    def __init__(self, settings: Settings) -> None:
        tokens = {Role.OPERATOR: settings.ops_token, Role.READER: settings.ops_read_token}
        self._tokens = {role: token for role, token in tokens.items() if token}

    def __bool__(self) -> bool:
        return bool(self._tokens)

    @property
    def keys(self) -> Mapping[Role, str]:
        """Signing keys of the sessions of each role: a new token ends the sessions of its role."""
        return {role: token.get_secret_value() for role, token in self._tokens.items()}

    def role_of(self, given: str) -> Role | None:
        """Return the role of a token, None for a wrong one; compares in constant time."""
        same = [role for role, token in self._tokens.items() if same_secret(given, token)]
        return same[0] if same else None
