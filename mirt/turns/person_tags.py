"""Mark a customer on the platform while a person is in charge, so that its flows can know it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mirt.observe import traces
from mirt.store.queue.tasks import TaskMessage
from mirt.task_names import TaskName


@dataclass(frozen=True, slots=True)
class PersonTags:
    """The tag of each platform that has one."""

    tags: Mapping[str, str] = field(default_factory=dict)

    def task(
        self, platform: str, chat_id: str | None, *, is_set: bool, name: str, now: datetime
    ) -> TaskMessage | None:
        """Return the task that sets or removes the tag; None without a tag or a chat.

        ``name`` is of the conversation: together with the time it names the task.
        """
        tag = self.tags.get(platform)
        if tag is None or chat_id is None:
            return None
        change = {"add_tags": [tag]} if is_set else {"remove_tags": [tag]}
        act = "set" if is_set else "removed"
        return TaskMessage(
            task_id=f"person-tag:{name}:{act}:{now.isoformat()}",
            actor=TaskName.MARK_CUSTOMER,
            kwargs={"platform": platform, "chat_id": chat_id, **change},
            options={**traces.new_options(TaskName.MARK_CUSTOMER), "session_id": name},
        )


NO_TAGS: Final = PersonTags()
