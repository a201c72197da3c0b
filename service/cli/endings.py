"""How a command ends: with an exit code, and a line for each error that is not a bug of ours."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from service.cli.errors import CommandError
from service.exit_codes import WRONG


@contextmanager
def ended() -> Iterator[None]:
    """End the process with a line and an exit code for each error that is not a bug of ours."""
    try:
        yield
    except CommandError as wrong:
        _end(wrong.field, wrong.problem, wrong.code, wrong.exit_code)
    except BrokenPipeError:
        # Whoever read has had enough, like head; nothing more is to be written.
        sys.stdout = None
        raise SystemExit(WRONG) from None
    except Exception as failed:
        from service.cli.translation import translated

        told = translated(failed)
        if told is None:
            raise
        _end(told.field, told.problem, told.code, told.exit_code)


def _end(field: str, problem: str, code: str, exit_code: int) -> NoReturn:
    print(f"{field}: {problem} ({code})", file=sys.stderr)
    raise SystemExit(exit_code)
