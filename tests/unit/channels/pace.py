"""A rate limiter that lets every caller pass at once."""


class CountedPace:
    """Counts its callers."""

    def __init__(self) -> None:
        self.waited = 0

    def wait(self) -> None:
        self.waited += 1
