"""What the fault tests are made of: brokers as processes, load from real clients, raw frames, a report."""
