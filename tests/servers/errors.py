"""The errors of a server of the tests, by their meaning for the run.

Exception
├── ServerUnavailable   there is no way to get one here: tests that need it are skipped, loudly
├── FaultNotPossible    it is not ours to break: tests that break it are skipped, loudly
└── ServerFailed        it is ours and did not do as told: an error
"""


class ServerUnavailable(Exception):  # noqa: N818 - a state of the machine, not an error of ours
    """No server of this kind can be had here; says what was tried and what would help."""

    def __init__(self, server: str, reasons: list[str]) -> None:
        super().__init__(f"no {server}: {'; '.join(reasons)}")


class FaultNotPossible(Exception):  # noqa: N818 - as above
    """The server was named in the environment: it is not ours to stop or to wipe."""

    def __init__(self, server: str, variable: str, fault: str) -> None:
        super().__init__(
            f"{server} came from {variable} and is not ours to {fault}; "
            f"unset {variable} to let the tests start their own"
        )


class ServerFailed(Exception):  # noqa: N818 - as above
    """A server that we started did not come up, or did not stop; carries the end of its log."""
