"""For every test: processes start with the signals that a terminal would give them."""

from __future__ import annotations

import signal

# A shell ignores SIGINT in what it runs in the background, and children inherit that; tests send it to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)
