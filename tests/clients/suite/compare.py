"""Compares what was read with what was written: record for record, partition by partition."""


def differences(expected, actual, window_ms, unseen=()):
    """The differences as sentences; none when all is well.

    `window_ms` bounds a timestamp that the producer chose by itself. `unseen` names what the consumer cannot tell
    ("headers": it shows a rendering of them only).
    """
    out = []
    if len(actual) != len(expected):
        out.append("%d records instead of %d" % (len(actual), len(expected)))
    by_partition = {}
    for record in expected:
        by_partition.setdefault(record["partition"], []).append(record)
    seen = {}
    for record in actual:
        partition = record["partition"]
        offset = seen.get(partition, 0)
        seen[partition] = offset + 1
        at = "%s-%s: " % (partition, offset)
        if record["offset"] != offset:
            out.append(at + "has offset %s" % record["offset"])
            continue
        wanted = by_partition.get(partition, [])
        if offset >= len(wanted):
            out.append(at + "was never produced")
            continue
        out.extend(at + what for what in record_differences(wanted[offset], record, window_ms, unseen))
    return out


def record_differences(wanted, got, window_ms, unseen):
    for field in ("key", "value"):
        if got[field] != wanted[field]:
            yield "%s %s instead of %s" % (field, brief(got[field]), brief(wanted[field]))
    if "headers" not in unseen:
        if got["headers"] != wanted["headers"]:
            yield "headers %s instead of %s" % (brief(got["headers"]), brief(wanted["headers"]))
    elif got["headers_text"] != rendered(wanted["headers"]):
        yield "headers %s instead of %s" % (brief(got["headers_text"]), brief(rendered(wanted["headers"])))
    if wanted["timestamp"] is not None:
        if got["timestamp"] != wanted["timestamp"]:
            yield "timestamp %s instead of %s" % (got["timestamp"], wanted["timestamp"])
    elif not window_ms[0] <= got["timestamp"] <= window_ms[1]:
        yield "timestamp %s outside of the run" % got["timestamp"]


def rendered(headers):
    """Headers as kcat's %h prints them."""
    return b",".join(name.encode() + b"=" + (b"NULL" if value is None else value) for name, value in headers)


def brief(value):
    text = repr(value)
    return text if len(text) <= 80 else text[:60] + "... (%d)" % len(text)
