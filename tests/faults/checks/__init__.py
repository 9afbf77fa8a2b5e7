"""One module a fault. Each has `checks(options)`: pairs of a name and what to call."""
