"""``python -m tests.fakes --port N``: the fake world as a process, until SIGTERM or SIGINT."""

import argparse
import signal

from tests.fakes.services import FakeServices


def main() -> None:
    """Serve, and print the URL once it can be asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    ends = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with FakeServices(parser.parse_args().port) as services:
        print(services.url, flush=True)
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
