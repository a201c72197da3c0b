"""Where each API is found."""


class Urls:
    """The base URLs to configure, from the URL of the whole."""

    url: str

    @property
    def telegram_url(self) -> str:
        """``TELEGRAM_API_URL``."""
        return self.url

    @property
    def llm_url(self) -> str:
        """``LLM_BASE_URL``."""
        return f"{self.url}/v1"

    @property
    def manychat_url(self) -> str:
        """``MANYCHAT_API_URL``."""
        return f"{self.url}/manychat"

    @property
    def crm_url(self) -> str:
        """``SNITKIX_API_URL``."""
        return self.url

    @property
    def staff_url(self) -> str:
        """``STAFF_WEBHOOK_URL``."""
        return f"{self.url}/staff/hook?key=staff-key"
