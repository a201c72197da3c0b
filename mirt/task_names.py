"""The names of all tasks, for actors, rows of ``tasks`` and ``middleware/policy.py``."""

from enum import StrEnum


class TaskName(StrEnum):
    """Name of each task. The values are a contract: rows and messages in flight hold them."""

    PROCESS_MESSAGE = "process_message"
    PROCESS_AND_RESPOND = "process_and_respond"
    SEND_RESPONSE = "send_response"
    SEND_DELAY_NOTICE = "send_delay_notice"
    MARK_CUSTOMER = "mark_customer"
    SUMMARIZE_SESSION = "summarize_session"
    CHECK_ALL_SESSIONS_FOR_SUMMARIZATION = "check_all_sessions_for_summarization"
    SEND_FOLLOWUP = "send_followup"
    SCHEDULE_FOLLOWUP = "schedule_followup"
    CHECK_ALL_SESSIONS_FOR_FOLLOWUPS = "check_all_sessions_for_followups"
    SET_FOLLOWUPS = "set_followups"
    CREATE_CRM_ORDER = "create_crm_order"
    SYNC_ORDER_STATUS = "sync_order_status"
    SYNC_OPEN_ORDERS = "sync_open_orders"
    TELL_STAFF = "tell_staff"
    END_HANDOVER = "end_handover"
    PING = "ping"
    WORKER_HEALTH_CHECK = "worker_health_check"
    CHECK_WEBHOOKS = "check_webhooks"
    SWEEP_MAILBOXES = "sweep_mailboxes"
    REMOVE_OLD_ROWS = "remove_old_rows"
