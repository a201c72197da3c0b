"""Read phone numbers as customers write them: Ukrainian ones in any form, others with a code."""

import re
from typing import Final

import phonenumbers

_WRONG: Final = "must be a valid phone number: +380501234567, or + and the code of another country"


def normalised_phone(written: object) -> str:
    """Return the number as ``+`` and digits (E.164).

    Punctuation is ignored, and so are invisible characters that a copied number contains, such as
    marks of the writing direction.

    >>> {normalised_phone(written) for written in ("050 123-45-67", "80501234567", "501234567")}
    {'+380501234567'}
    >>> normalised_phone("0048 512 345 678")
    '+48512345678'

    Raises:
        ValueError: it is no number that can be dialled.
    """
    # Letters, and digits of other scripts, are kept, so that they make the number wrong.
    kept = "".join(filter(str.isalnum, written)) if isinstance(written, str) else ""
    if re.fullmatch("[0-9]{6,20}", kept):
        has_plus = "+" in str(written).partition(kept[0])[0]
        for international in _readings(kept, has_plus=has_plus):
            try:
                number = phonenumbers.parse(international)
            except phonenumbers.NumberParseException:
                continue
            if phonenumbers.is_valid_number(number):
                return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    raise ValueError(_WRONG)


def _readings(digits: str, *, has_plus: bool) -> list[str]:
    """Return what the digits may mean, in the international form; the likeliest first."""
    ukrainian = re.fullmatch("(?:(?:00)?380{1,2}|80|0|)([1-9][0-9]{8})", digits)
    readings = [f"+380{ukrainian[1]}"] if ukrainian else []
    if has_plus:
        return [f"+{digits}", *readings]
    return [*readings, f"+{digits[2:]}"] if digits.startswith("00") else readings
