"""What the Python client programs share: the command line, the manifest, and how a check is reported.

    PROGRAM produce --bootstrap B (--topic T --codec C --input F)...
    PROGRAM consume --bootstrap B (--topic T --count N --output F)...
    PROGRAM checks  --bootstrap B --prefix P --broker corelog|kafka
    PROGRAM member  --bootstrap B --group G [--instance I] [--cooperative yes] --topic T
"""

import base64
import json
import sys
import threading
import time
import traceback


def main(produce, consume, checks, member):
    """`produce(bootstrap, jobs)`, `consume(bootstrap, jobs)`, `checks(Checks)`,
    `member(Member)`; a job is a dict of its options."""
    verb, options = sys.argv[1], sys.argv[2:]
    common, jobs = {}, []
    for name, value in zip(options[::2], options[1::2]):
        name = name.removeprefix("--")
        if name == "topic":
            jobs.append({})
        (jobs[-1] if jobs else common)[name] = value
    if verb == "produce":
        for job in jobs:
            job["records"] = read(job["input"])
        produce(common["bootstrap"], jobs)
    elif verb == "consume":
        for job in jobs:
            job["count"] = int(job["count"])
            job["file"] = open(job["output"], "w", encoding="ascii")
        consume(common["bootstrap"], jobs)
        for job in jobs:
            job["file"].close()
    elif verb == "checks":
        checks(Checks(common["bootstrap"], common["prefix"], common["broker"] == "corelog"))
    elif verb == "member":
        member(Member(common, jobs[0]["topic"]))
    else:
        sys.exit("unknown verb " + verb)


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line, object_hook=decoded) for line in file]


def decoded(record):
    record["key"] = from_text(record["key"])
    record["value"] = from_text(record["value"])
    record["headers"] = [(name, from_text(value)) for name, value in record["headers"]]
    return record


def from_text(text):
    return None if text is None else base64.b64decode(text)


def to_text(data):
    return None if data is None else base64.b64encode(data).decode("ascii")


def dump(job, partition, offset, timestamp, key, value, headers):
    job["file"].write(json.dumps({
        "partition": partition, "offset": offset, "timestamp": timestamp, "key": to_text(key), "value": to_text(value),
        "headers": [[name, to_text(data)] for name, data in headers],
    }) + "\n")


class Member:
    """A member of a group until standard input ends. Says what it is assigned and what it has read and committed."""

    def __init__(self, options, topic):
        self.bootstrap = options["bootstrap"]
        self.group = options["group"]
        self.instance = options.get("instance")
        self.cooperative = "cooperative" in options
        self.topic = topic
        self.stopped = threading.Event()
        self.assigned = None
        threading.Thread(target=self.wait, daemon=True).start()

    def wait(self):
        sys.stdin.read()
        self.stopped.set()

    def say_assigned(self, partitions):
        partitions = sorted(partitions)
        if partitions != self.assigned:
            self.assigned = partitions
            print("assigned", *self.assigned, flush=True)

    def say_read(self, partition, offset):
        print("read %d %d" % (partition, offset), flush=True)


class Checks:
    """Runs named checks; each prints one line and none stops the others."""

    def __init__(self, bootstrap, prefix, corelog):
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.corelog = corelog

    def run(self, name, check):
        try:
            check()
        except Exception as error:  # Whatever went wrong is the result of the check.
            traceback.print_exc()
            print("FAIL %s: %s: %s" % (name, type(error).__name__, str(error).replace("\n", " ")), flush=True)
        else:
            print("ok %s" % name, flush=True)

    def skip(self, name, reason):
        print("skip %s: %s" % (name, reason), flush=True)


def equal(actual, wanted):
    if actual != wanted:
        raise AssertionError("%r instead of %r" % (actual, wanted))


def refused(wanted, action, *args, **kwargs):
    """Runs `action`, which must raise an error whose text or type names `wanted`."""
    try:
        result = action(*args, **kwargs)
    except Exception as error:
        if wanted.lower() not in (type(error).__name__ + " " + str(error)).lower():
            raise AssertionError("%r does not say %s" % (error, wanted)) from error
        return
    raise AssertionError("%s was expected, got %r" % (wanted, result))


def eventually(check, holds):
    """Holds at once on Corelog, where an admin answer leaves after its effect; within 10 seconds elsewhere."""
    awaited(holds, 1 if check.corelog else 100)


def awaited(holds, tries=100):
    """Holds within 10 seconds: nothing says when acks=0 is done."""
    for attempt in range(tries):
        if holds():
            return
        if attempt + 1 == tries:
            raise AssertionError("what was asked for is not seen")
        time.sleep(0.1)
