"""One part of the service against the real server it talks to."""
