"""The records that every client produces: a pure function of a seed, written as JSON lines.

One line a record, in the order of production:
{"partition":0,"key":B64|null,"value":B64|null,"headers":[[NAME,B64|null],...],"timestamp":MS|null}
A null timestamp means that the client cannot be told one; the comparison then only wants it to be plausible.
"""

import base64
import json
import random

PARTITIONS = 3
# Topics are created with retention.ms=-1, so the past stays where it is.
TIMESTAMP_BASE_MS = 1_700_000_000_000

WORDS = "pump valve sensor north south east west celsius pascal litre second steady drifting failed ok".split()


def encode(data):
    return None if data is None else base64.b64encode(data).decode("ascii")


def decode(text):
    return None if text is None else base64.b64decode(text)


def text(rng, bytes_least):
    """Prose of a small vocabulary: every codec shrinks it, so no client falls back to sending it as it is."""
    out = []
    size = 0
    while size < bytes_least:
        word = rng.choice(WORDS)
        out.append(word)
        size += len(word) + 1
    return " ".join(out).encode("ascii")


def full(seed, lacks=()):
    """Every shape of key, value and header that the format has, without those that a client `lacks`."""
    rng = random.Random(seed)
    shapes = [
        dict(),
        dict(key=None),
        dict(key=b""),
        dict(value=None),
        dict(value=b""),
        dict(key=None, value=None),
        dict(key="clé-ключ-鍵".encode(), value="température 21 °C, ".encode() * 20),
        dict(key=bytes(range(256)), value=bytes(range(256)) * 8),
        dict(headers=[["unit", b"celsius"]]),
        dict(headers=[["unit", b"pascal"], ["unit", b"second of that name"], ["site", b"north"]]),
        dict(headers=[["unit", b"pascal"], ["site", b"north"], ["unit", b"apart from the first"]]),
        dict(headers=[["empty", b""], ["null", None], ["bytes", bytes(range(128, 256))]]),
        dict(headers=[["имя", "значение".encode()], ["", b"a header without a name"]]),
        dict(headers=[["n%d" % i, b"v" * i] for i in range(20)]),
        dict(value=None, headers=[["reason", b"gone"]]),
        dict(value=text(rng, 20_000)),
    ]
    out = []
    for i in range(2 * PARTITIONS * len(shapes)):
        shape = shapes[i % len(shapes)]
        out.append({
            "partition": rng.randrange(PARTITIONS),
            "key": shape.get("key", b"key-%d" % rng.randrange(10)),
            "value": shape.get("value", text(rng, rng.choice([60, 200, 900]))),
            "headers": shape.get("headers", []),
            # Neither sorted nor distinct: offsets are what orders a partition.
            "timestamp": TIMESTAMP_BASE_MS + rng.randrange(3_600_000),
        })
    return [record for record in out if not any(LACKS[what](record) for what in lacks)]


LACKS = {
    "null key with null value": lambda record: record["key"] is None and record["value"] is None,
    "repeated header apart from the first": lambda record: any(
        value == b"apart from the first" for _, value in record["headers"]),
    "null header": lambda record: any(value is None for _, value in record["headers"]),
}


def kcat(seed, lacks=()):
    """What kcat can say on its command line: no timestamps, one set of headers a run, no bytes that end a field."""
    rng = random.Random(seed)
    runs = [
        ([], [dict(), dict(key=b""), dict(value=b""), dict(), dict(key="ключ".encode()), dict(key=None)]),
        ([["unit", b"celsius"], ["unit", b"twice"], ["null", None]], [dict(), dict(key=None), dict(), dict()]),
        ([], [dict(), dict(key=None), dict(value=None), dict(), dict()]),
    ]
    out = []
    for partition in range(PARTITIONS):
        for headers, shapes in runs:
            for shape in shapes:
                out.append({
                    "partition": partition,
                    "key": shape.get("key", b"key-%d" % rng.randrange(10)),
                    "value": shape.get("value", text(rng, 400)),
                    "headers": headers,
                    "timestamp": None,
                    # In such a run an empty field is sent as null.
                    "nulls": any(shape.get("value", b"") is None for shape in shapes),
                })
    return out


def write(records, path):
    with open(path, "w", encoding="ascii") as file:
        for record in records:
            line = dict(record, key=encode(record["key"]), value=encode(record["value"]))
            line["headers"] = [[name, encode(value)] for name, value in record["headers"]]
            file.write(json.dumps(line) + "\n")


def read(path):
    """Records as a consumer dumped them: as above, with an offset each, bytes decoded."""
    out = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            record["key"] = decode(record["key"])
            record["value"] = decode(record["value"])
            if "headers" in record:
                record["headers"] = [[name, decode(value)] for name, value in record["headers"]]
            if "headers_text" in record:
                record["headers_text"] = decode(record["headers_text"])
            out.append(record)
    return out
