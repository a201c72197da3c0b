"""One file for each promise: the real thing is broken, and the promise is kept."""
