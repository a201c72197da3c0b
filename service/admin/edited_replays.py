"""Replay a dead letter with arguments that an operator has corrected."""

import json
from collections.abc import Mapping
from inspect import signature
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from mirt.errors import ErrorCode, PermanentError
from mirt.orders import read_order
from mirt.task_names import TaskName
from service.admin.context import AdminContext


def read_arguments(task: str, text: str) -> dict[str, Any]:
    """Return the arguments of a task from JSON: an object with a value for each argument.

    Raises:
        PermanentError: INVALID_INPUT, naming what is wrong: no JSON, an argument that is unknown,
            missing or of another type, or an order that could not be created.
    """
    from broker.task import registry

    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise _invalid(f"no JSON: {wrong}") from None
    if not isinstance(arguments, dict):
        raise _invalid("must be a JSON object with a value for each argument")
    if task not in registry.broker.actors:
        raise _invalid(f"this version does not know the task {task}")
    function = registry.broker.get_actor(task).fn
    try:
        signature(function).bind(**arguments)
    except TypeError as wrong:
        raise _invalid(str(wrong)) from None
    hints = get_type_hints(function)
    for name, given in arguments.items():
        try:
            TypeAdapter(hints[name]).validate_python(given, strict=True)
        except ValidationError as wrong:
            problems = (error["msg"] for error in wrong.errors(include_input=False))
            raise _invalid(f"{name}: {'; '.join(dict.fromkeys(problems))}") from None
    if task == TaskName.CREATE_CRM_ORDER:
        read_order(arguments["order_data"])
    return arguments


def replay_with(context: AdminContext, task_id: str, arguments: Mapping[str, Any]) -> bool:
    """Run a dead letter once more with these arguments; return False if there is none.

    Raises:
        PermanentError: INVALID_INPUT, the task does not read its arguments any more.
        DatabaseError: nothing has changed.
    """
    from broker.task import registry
    from middleware.dead_letters import replay_with as replay

    return replay(registry.broker, context.database, task_id, arguments, context.clock)


def _invalid(problem: str) -> PermanentError:
    return PermanentError(f"arguments: {problem}", ErrorCode.INVALID_INPUT)
