"""Map the token of an operator to a name and a role."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import SecretStr

from mirt.channels.webhook import same_secret
from mirt.settings import Settings
from mirt.tokens import accepted, named_tokens


class Role(StrEnum):
    """The rights of an operator."""

    OPERATOR = "operator"
    """Reads and changes everything."""
    READER = "reader"
    """Reads everything, changes nothing."""


@dataclass(frozen=True, slots=True)
class Credential:
    """An accepted token, with the name and the role of its operator."""

    name: str
    role: Role
    token: SecretStr


class Tokens:
    """The accepted tokens of all operators. Without any token the page is off.

    The operator of OPS_TOKEN or OPS_READ_TOKEN has the name of the role.
    """

    def __init__(self, settings: Settings) -> None:
        self.credentials: Sequence[Credential] = tuple(_credentials(settings))

    def __bool__(self) -> bool:
        return bool(self.credentials)

    def credential_of(self, given: str) -> Credential | None:
        """Return the credential of a token, None for a wrong one; compares in constant time."""
        same = [one for one in self.credentials if same_secret(given, one.token)]
        return same[0] if same else None


def _credentials(settings: Settings) -> Iterator[Credential]:
    for named in named_tokens(settings.ops_tokens):
        yield Credential(named.name, Role.OPERATOR, named.token)
    for role, tokens in (
        (Role.OPERATOR, settings.ops_token),
        (Role.READER, settings.ops_read_token),
    ):
        for token in accepted(tokens):
            yield Credential(role.value, role, token)
