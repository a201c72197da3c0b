"""``python -m tests.chaos``: one run. Exit code 1 when a promise was broken, or a fault missing."""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from tests.chaos import report
from tests.chaos.faults import KINDS
from tests.chaos.run import Options, run
from tests.chaos.stage import SABOTAGES
from tests.chaos.verdict import judge

FOLDER: Final = Path("var/chaos")
FAULT_S: Final = 12.0
"""A fault comes about so often; RabbitMQ alone takes half of it to start again."""
LEAST_S: Final = 30.0


def main() -> int:
    """Run, print the report and leave it, with the logs, in a folder of its own."""
    options = _options()
    signal.signal(signal.SIGTERM, _stop)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    folder = (FOLDER / f"{stamp}-seed{options.seed}").absolute()
    folder.mkdir(parents=True)
    began = time.monotonic()

    def announce(line: str) -> None:
        line = f"{time.monotonic() - began:7.1f}  {line}"
        print(line, flush=True)
        with (folder / "events.log").open("a") as events:
            events.write(line + "\n")

    over = run(options, folder, announce)
    verdict = judge(over.facts)
    report.write(over, verdict, folder)
    print(f"\n{report.markdown(over, verdict)}\nreport and logs: {folder}")
    return 0 if verdict.kept and not over.missing else 1


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--chats", type=int, default=300)
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="of writing; default 12 for each fault")
    parser.add_argument("--agent", type=float, default=0.1, help="seconds that the agent thinks")
    parser.add_argument("--only", choices=KINDS, action="append", help="kind of fault; default all")
    parser.add_argument("--patience", type=float, default=180, help="seconds for the last answers")
    parser.add_argument(
        "--sabotage",
        choices=SABOTAGES,
        help="put this bug into the service, and break what shows it: the run has to fail",
    )
    given = parser.parse_args()
    return Options(
        messages=given.messages,
        chats=given.chats,
        faults=given.faults,
        seed=given.seed,
        seconds=given.seconds or max(LEAST_S, FAULT_S * given.faults),
        only=tuple(given.only or SABOTAGES.get(given.sabotage, ())),
        patience_s=given.patience,
        agent_s=given.agent,
        sabotage=given.sabotage,
    )


def _stop(_signum: int, _frame: FrameType | None) -> None:
    """As Ctrl-C does: everything that was started is stopped on the way out."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
