"""A burst: 2,000 messages of 1,000 customers within two seconds, on two web processes."""

import re
from collections import defaultdict

import httpx

from bench.load import send_paced
from bench.reached import Reached
from bench.setups import OURS, outside, running
from bench.whole_way import wait_for
from tests.servers import Servers

CUSTOMERS = 1_000
MESSAGES = 2_000
WITHIN_S = 2.0


def measure(servers: Servers) -> list[Reached]:
    """Measure refusals, the slowest 2xx, and what was not answered in order."""
    messages = [(1 + n % CUSTOMERS, 1 + n // CUSTOMERS) for n in range(MESSAGES)]
    with outside(0.2) as url, running(OURS, servers, url, threads=32) as system:
        answers = send_paced(system.port, messages, per_second=MESSAGES / WITHIN_S)
        wait_for(url, MESSAGES)
        sent = httpx.get(f"{url}/_report", timeout=30).json()["sent"]
    got: dict[str, list[int]] = defaultdict(list)
    for _, _, text in sent:
        for chat, number in re.findall(r"#(\d+)\.(\d+)", text):
            got[chat].append(int(number))
    wrong = sum(got[str(chat)] != [1, 2] for chat in range(1, CUSTOMERS + 1))
    return [
        Reached("burst: refused", answers.statuses[503], 0, "answers of 503", at_most=True),
        Reached("burst: slowest 2xx", answers.percentile_ms(100) / 1000, 1, "s", at_most=True),
        Reached("burst: order", wrong, 0, "customers answered twice, late or not", at_most=True),
    ]
