"""kcat: librdkafka as Debian packages it, driven by its command line (the same as the other programs').

kcat cannot be told timestamps, and takes one set of headers a run; so a manifest is produced in runs of equal partition,
headers and kind of emptiness. Its consumer shows headers as text only.
"""

import base64
import itertools
import json
import subprocess
import sys
import time

FIELD, RECORD = b"\x1d", b"\x1e"
FORMAT = r"%p %o %T %K %S\n%k%s%h\x1e\n"


def run(bootstrap, *options, data=b""):
    """The output of one run; raises with what it said when it fails."""
    command = ["kcat", "-b", bootstrap, "-X", "topic.metadata.refresh.interval.ms=-1", *options]
    done = subprocess.run(command, input=data, capture_output=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace").strip().replace("\n", " "))
    return done.stdout


def produce(bootstrap, job):
    with open(job["input"], encoding="ascii") as file:
        records = [json.loads(line) for line in file]
    for (partition, headers, nulls), group in itertools.groupby(records, run_of):
        options = ["-P", "-t", job["topic"], "-p", str(partition), "-z", job["codec"], "-X", "linger.ms=100",
                   "-K", FIELD.decode(), "-D", RECORD.decode()]
        for name, value in json.loads(headers):
            options += ["-H", name if value is None else name + "=" + base64.b64decode(value).decode()]
        if nulls:
            options.append("-Z")
        run(bootstrap, *options, data=RECORD.join(map(line_of, group)))


def run_of(record):
    nulls = record["nulls"]
    return record["partition"], json.dumps(record["headers"]), nulls


def line_of(record):
    key, value = record["key"], record["value"]
    return (b"" if key is None else base64.b64decode(key) + FIELD) + base64.b64decode(value or "")


def consume(bootstrap, job):
    out = run(bootstrap, "-C", "-t", job["topic"], "-o", "beginning", "-c", job["count"], "-q", "-f", FORMAT,
              "-X", "fetch.wait.max.ms=100")
    with open(job["output"], "w", encoding="ascii") as file:
        while out:
            head, out = out.split(b"\n", 1)
            partition, offset, timestamp, key_bytes, value_bytes = map(int, head.split())
            key, out = take(out, key_bytes)
            value, out = take(out, value_bytes)
            # Headers come last and without a length; no manifest puts the mark into one.
            headers, out = out.split(RECORD + b"\n", 1)
            file.write(json.dumps({
                "partition": partition, "offset": offset, "timestamp": timestamp, "key": text(key),
                "value": text(value), "headers_text": text(headers),
            }) + "\n")


def take(data, size):
    return (None, data) if size < 0 else (data[:size], data[size:])


def text(data):
    return None if data is None else base64.b64encode(data).decode("ascii")


def checks(bootstrap, prefix):
    topic = prefix + "-kcat"

    def send(value, *options):
        run(bootstrap, "-P", "-t", topic, "-p", "0", "-D", RECORD.decode(), *options, data=value)

    def created():
        send(b"first")
        if topic not in run(bootstrap, "-L", "-J").decode():
            raise AssertionError("the topic is not listed")

    def acks():
        for setting in ("all", "1", "0"):
            send(b"acks " + setting.encode(), "-X", "acks=" + setting)

    def query():
        deadline = time.monotonic() + 10
        # Nothing says when acks=0 is done.
        while "offset 4" not in (out := run(bootstrap, "-Q", "-t", topic + ":0:-1").decode()):
            if time.monotonic() > deadline:
                raise AssertionError(out)

    def read():
        out = run(bootstrap, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q", "-D", "|")
        if out != b"first|acks all|acks 1|acks 0|":
            raise AssertionError(repr(out))

    def tail():
        out = run(bootstrap, "-C", "-t", topic, "-p", "0", "-o", "-2", "-e", "-q", "-D", "|")
        if out != b"acks 1|acks 0|":
            raise AssertionError(repr(out))

    def too_large():
        try:
            send(b"x" * 2_000_000, "-X", "message.max.bytes=5000000")
        except RuntimeError as error:
            if "too large" not in str(error):
                raise
        else:
            raise AssertionError("a record of 2 MB was taken")

    for name, check in [
        ("gets a topic created by producing to it", created),
        ("produces with acks all, 1 and 0", acks),
        ("asks for the end offset", query),
        ("reads from the beginning to the end", read),
        ("reads the last two", tail),
        ("is told that a record is too large", too_large),
    ]:
        try:
            check()
        except Exception as error:  # Whatever went wrong is the result of the check.
            print("FAIL %s: %s: %s" % (name, type(error).__name__, str(error).replace("\n", " ")), flush=True)
        else:
            print("ok " + name, flush=True)


def main(verb, *words):
    common, jobs = {}, []
    for name, value in zip(words[::2], words[1::2]):
        if name == "--topic":
            jobs.append({})
        (jobs[-1] if jobs else common)[name.removeprefix("--")] = value
    if verb == "checks":
        checks(common["bootstrap"], common["prefix"])
    for job in jobs:
        {"produce": produce, "consume": consume}[verb](common["bootstrap"], job)


main(*sys.argv[1:])
