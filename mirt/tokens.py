"""Read secrets that may have two values: ``NAME=new,old`` accepts both while one is replaced."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

SHORTEST: Final = 8
"""Characters of a token that the distributed mode accepts."""
ADVISED: Final = 16
"""Characters of a token that cannot be guessed; ``mirt doctor`` asks for them."""


@dataclass(frozen=True, slots=True)
class NamedToken:
    """The token of one operator."""

    name: str
    token: SecretStr


def accepted(secret: SecretStr | None) -> tuple[SecretStr, ...]:
    """Return every accepted value, the one to use first. ``SecretStr("new,old")`` has two."""
    if secret is None:
        return ()
    values = (value.strip() for value in secret.get_secret_value().split(","))
    return tuple(SecretStr(value) for value in values if value)


def newest(secret: SecretStr | None) -> SecretStr | None:
    """Return the value to send and to sign with; None if there is none."""
    return next(iter(accepted(secret)), None)


def named_tokens(tokens: SecretStr | None) -> tuple[NamedToken, ...]:
    """Return the tokens of ``olena:token,taras:token``; a name may occur twice, to replace one.

    Raises:
        ValueError: an entry is no ``name:token``; the text holds no part of it.
    """
    return tuple(_named(accepted(tokens)))


def _named(entries: tuple[SecretStr, ...]) -> Iterator[NamedToken]:
    for number, entry in enumerate(entries, 1):
        name, colon, token = entry.get_secret_value().partition(":")
        if not (colon and name.strip().isprintable() and name.strip() and token.strip()):
            raise ValueError(f"entry {number} is no name:token")
        yield NamedToken(name.strip(), SecretStr(token.strip()))
