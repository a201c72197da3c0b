"""One slow queue does not occupy every thread of a process that serves several."""

import pytest

from service.processes.worker_main import threads_for_one


@pytest.mark.parametrize(("threads", "queues", "most"), [(8, 1, 8), (8, 4, 5), (16, 6, 11)])
def test_a_queue_leaves_a_thread_to_each_of_the_others(
    threads: int, queues: int, most: int
) -> None:
    assert threads_for_one(threads, queues) == most


@pytest.mark.parametrize(("threads", "queues"), [(1, 6), (4, 4), (8, 6)])
def test_where_threads_are_few_a_queue_may_use_them_all(threads: int, queues: int) -> None:
    assert threads_for_one(threads, queues) == threads
