"""What can go wrong with a command: its field, problem and code, and an exit code for scripts."""

from service.exit_codes import USAGE, WRONG


class CommandError(Exception):
    """A command cannot do what it was asked for; ``field`` is what is wrong, ``code`` the kind."""

    def __init__(self, field: str, problem: str, code: str, exit_code: int = WRONG) -> None:
        super().__init__(problem)
        self.field = field
        self.problem = problem
        self.code = code
        self.exit_code = exit_code


def misused(field: str, problem: str) -> CommandError:
    """The command was used wrongly."""
    return CommandError(field, problem, "INVALID_INPUT", USAGE)


def not_found(field: str, problem: str) -> CommandError:
    """What was asked for is not there."""
    return CommandError(field, problem, "NOT_FOUND")
