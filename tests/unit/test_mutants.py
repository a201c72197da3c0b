"""The kept list of bugs fits the code: each can be put in, and the tests that see it exist."""

import ast
from functools import cache

import pytest

from tests.mutants.mutation import ROOT, DoesNotApplyError, Mutation, read_mutations

MUTATIONS = read_mutations()


@cache
def functions_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.bug.replace(" ", "_"))
def test_a_kept_bug_can_be_put_into_the_code(mutation: Mutation) -> None:
    mutated = mutation.mutated(ROOT)
    assert mutated != (ROOT / mutation.file).read_text()
    ast.parse(mutated)


def test_the_tests_that_see_a_kept_bug_exist() -> None:
    named = {test for mutation in MUTATIONS for test in mutation.killed_by}
    missing = []
    for test in named:
        file, _, function = test.partition("::")
        if function.partition("[")[0] not in functions_in(file):
            missing.append(test)
    assert missing == []


def test_each_bug_is_kept_once() -> None:
    assert len({(one.file, one.text, one.becomes) for one in MUTATIONS}) == len(MUTATIONS)
    assert len({one.bug for one in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("text", ["import no_such_text", "def "])
def test_a_bug_whose_text_is_not_there_exactly_once_is_refused(text: str) -> None:
    mutation = Mutation(
        part="none",
        bug="none",
        promise="none",
        file="mirt/clock.py",
        text=text,
        becomes="",
        killed_by=[],
    )
    with pytest.raises(DoesNotApplyError, match=r"mirt/clock\.py has its text \d+ times"):
        mutation.mutated(ROOT)
