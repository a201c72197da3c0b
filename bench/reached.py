"""A figure of ours that has a goal of its own, beside the comparison of whole ways."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reached:
    """A measured value and its goal: the least value, or with ``at_most`` the greatest."""

    row: str
    value: float
    goal: float
    about: str
    at_most: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the goal is reached."""
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def line(self) -> str:
        """Say it in a line."""
        limit = "at most" if self.at_most else "at least"
        verdict = "" if self.is_met else "  MISSED"
        return f"{self.row:<22} {self.value:8.2f} ({limit} {self.goal:g}) {self.about}{verdict}"
