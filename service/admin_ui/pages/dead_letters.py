"""Show dead letters, and replay or discard one, the selected, or all that match."""

import json
from typing import Final
from urllib.parse import quote

import falcon

from middleware.policy import QUEUES, TASKS
from mirt.counting import counted
from mirt.errors import ErrorCode, PermanentError
from mirt.store.queue.dead_letters import DeadLetterFilter
from mirt.task_names import TaskName
from service.admin import audit, dead_letters
from service.admin.edited_replays import read_arguments, replay_with
from service.admin.redaction import is_private
from service.admin_ui.auth.access import Principal
from service.admin_ui.dead_letter_filter import SPANS, read_selection
from service.admin_ui.page import Form, FormPage, ReadPage, Redirect, View, value

ON_A_PAGE: Final = 50
MOST_GROUPS: Final = 20
TURNS: Final = (TaskName.PROCESS_MESSAGE, TaskName.PROCESS_AND_RESPOND)
"""Tasks whose message is in the mailbox, so that their arguments cannot be corrected."""
REPLAYED, DISCARDED = "replay", "discard"
SELECTED, MATCHING = "selected", "matching"
DECISIONS: Final = {
    f"{action}-{scope}": (action, scope)
    for action in (REPLAYED, DISCARDED)
    for scope in (SELECTED, MATCHING)
}


class DeadLettersPage(ReadPage):
    """``/ops/dead``: the list, filtered by queue, task, code, time and conversation."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return one page of the dead letters that match, the latest first."""
        selection = read_selection(lambda name: req.get_param(name) or "")
        now, number = self.runtime.clock(), _number(req.get_param("page") or "1")
        offset = (number - 1) * ON_A_PAGE
        found = dead_letters.find(
            self.runtime, selection.as_filter(now), limit=ON_A_PAGE, offset=offset
        )
        groups = dead_letters.groups(self.runtime, selection.as_filter(now), limit=MOST_GROUPS)
        last = max(1, -(-found.total // ON_A_PAGE))
        join = "&" if "?" in selection.address else "?"
        context = {
            "found": found,
            "groups": groups if len(groups) > 1 else [],
            "most_groups": MOST_GROUPS,
            "fields": selection.fields,
            "is_filtered": any(selection.fields.values()),
            "options": {"queue": list(QUEUES), "task": list(TASKS), "code": list(ErrorCode)},
            "spans": SPANS,
            "number": number,
            "last": last,
            "newer": f"{selection.address}{join}page={number - 1}" if number > 1 else None,
            "older": f"{selection.address}{join}page={number + 1}" if number < last else None,
        }
        return View("dead.html", context)


class DeadLetterPage(ReadPage):
    """``/ops/dead/letter?id=…``: one dead letter with everything that is stored about it."""

    def show(self, req: falcon.Request, principal: Principal) -> View:
        """Return its error, arguments and traceback; texts are hidden unless ``texts=1``."""
        name = (req.get_param("id") or "").strip()
        dead_letter = None if "\0" in name else dead_letters.show(self.runtime, name)
        if dead_letter is None:
            return View("unknown.html", {"name": name}, status=falcon.HTTP_404)
        texts = req.get_param("texts") == "1"
        if texts:
            audit.record_texts_shown(self.runtime, name, session_id=dead_letter.session_id)
            self.page_context.log_action(principal, "texts shown", of=name)
        arguments = {str(at): argument for at, argument in enumerate(dead_letter.task.args)}
        arguments |= dead_letter.task.kwargs
        address = f"/ops/dead/letter?id={quote(name, safe='')}"
        context = {
            "dead_letter": dead_letter,
            "arguments": {
                key: (argument, is_private(key, argument)) for key, argument in arguments.items()
            },
            "plain_arguments": json.dumps(arguments, ensure_ascii=False, indent=2),
            "may_edit": dead_letter.task.actor not in (*TURNS, ""),
            "texts": texts,
            "without_texts": address,
            "with_texts": f"{address}&texts=1",
        }
        return View("letter.html", context, is_live=not texts)


class EditPage(FormPage):
    """``/ops/dead/edit``: replays one dead letter with corrected arguments."""

    def act(self, form: Form, principal: Principal) -> Redirect:
        """Check the arguments, and replay the dead letter with them."""
        task_id = value(form, "id")
        found = None if "\0" in task_id else dead_letters.show(self.runtime, task_id)
        if found is None:
            return Redirect("There is no such dead letter any more.", "/ops/dead")
        arguments = read_arguments(found.task.actor, value(form, "arguments"))
        if not replay_with(self.runtime, task_id, arguments):
            return Redirect("It was replayed or discarded meanwhile.", "/ops/dead")
        self.page_context.log_action(principal, "replayed with other arguments", task_id=task_id)
        said = "Replayed with the corrected arguments."
        return Redirect(said, f"/ops/trace?id={quote(task_id, safe='')}")


class DecisionPage(FormPage):
    """``/ops/dead/decide``: counts and asks, then acts when that is confirmed.

    The action applies to the dead letters that were counted. Later ones are left alone.
    """

    def act(self, form: Form, principal: Principal) -> View | Redirect:
        """Return the question, or act if the form is confirmed."""
        action, scope = _decision(value(form, "do"))
        ids = form.get("id", []) if scope == SELECTED else None
        if ids == []:
            raise PermanentError("no dead letter is selected", ErrorCode.INVALID_INPUT)
        now = self.runtime.clock()
        selection = read_selection(lambda name: value(form, name), ids).with_fixed_since(now)
        which = selection.as_filter(now, value(form, "until"))
        back = read_selection(lambda name: value(form, name)).address
        if value(form, "confirmed") != "yes":
            context = {
                "action": action,
                "do": f"{action}-{scope}",
                "selection": selection,
                "until": which.until,
                "total": dead_letters.find(self.runtime, which, limit=1).total,
                "back": back,
            }
            return View("confirm.html", context, is_live=False)
        count = self._do(action, which)
        done = "replayed" if action == REPLAYED else "discarded"
        self.page_context.log_action(principal, done, count=count, which=selection.in_words())
        return Redirect(f"{counted(count, 'dead letter')} {done}.", back)

    def _do(self, action: str, which: DeadLetterFilter) -> int:
        done = dead_letters.replay if action == REPLAYED else dead_letters.discard
        return done(self.runtime, which)


def _decision(name: str) -> tuple[str, str]:
    if name not in DECISIONS:
        raise PermanentError(f"do: must be one of {', '.join(DECISIONS)}", ErrorCode.INVALID_INPUT)
    return DECISIONS[name]


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:9]) < 1_000_000:
        raise PermanentError("page: must be a number from 1", ErrorCode.INVALID_INPUT)
    return int(text)
