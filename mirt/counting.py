"""Counts in words, for everything that operators read."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun, in the plural unless it is one.

    >>> counted(1, "reply"), counted(1200, "reply"), counted(2, "task waits", "tasks wait")
    ('1 reply', '1,200 replies', '2 tasks wait')
    """
    return f"{number:,} {one if number == 1 else many or _plural(one)}"


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2] not in "aeou":
        return noun.removesuffix("y") + "ies"
    return noun + "s"
