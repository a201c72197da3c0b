"""Who may do what, by the token that they bring."""

from collections.abc import Mapping
from enum import StrEnum

from mirt.channels.webhook import same_secret
from mirt.settings import Settings


class Role(StrEnum):
    """What a visitor may do."""

    OPERATOR = "operator"
    """Everything."""
    READER = "reader"
    """See everything, change nothing."""


class Tokens:
    """The token of each role that has one. Without any the page is off."""

    def __init__(self, settings: Settings) -> None:
        tokens = {Role.OPERATOR: settings.ops_token, Role.READER: settings.ops_read_token}
        self._tokens = {role: token for role, token in tokens.items() if token}

    def __bool__(self) -> bool:
        return bool(self._tokens)

    @property
    def keys(self) -> Mapping[Role, str]:
        """What the sessions of each role are signed with: whoever has a new token logs in anew."""
        return {role: token.get_secret_value() for role, token in self._tokens.items()}

    def role_of(self, given: str) -> Role | None:
        """Whose token this is; compared with each of them in constant time."""
        same = [role for role, token in self._tokens.items() if same_secret(given, token)]
        return same[0] if same else None
