"""Real servers, each reached with the system's own `ssh`."""
