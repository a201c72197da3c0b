"""Malformed JSON, for tests that it leads to our own error and nothing else."""

from typing import Any

from hypothesis import strategies as st

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**60)
    | st.floats(allow_nan=True)
    | st.text(max_size=8)
)


def json_with(names: list[str]) -> st.SearchStrategy[Any]:
    """Any JSON whose objects mostly have the names that a channel looks for."""
    keys = st.sampled_from(names) | st.text(max_size=4)
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=6),
        max_leaves=20,
    )


def nested(depth: int) -> Any:
    """A list in a list in a list …"""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value
