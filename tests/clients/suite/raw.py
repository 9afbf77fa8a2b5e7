"""A small reader of the protocol that shares nothing with any client: topics, offsets, and batches as stored.

Every request has the oldest version without tagged fields that brokers still serve.
"""

import socket
import struct
import zlib

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS, CREATE_TOPICS, DELETE_TOPICS = 0, 1, 2, 3, 18, 19, 20


def string(text):
    data = text.encode()
    return struct.pack(">h", len(data)) + data


class Reader:
    """Reads big-endian fields in order."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, size):
        assert 0 <= size <= len(self.data) - self.at, "answer ends too early"
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def string(self):
        size = self.number("h")
        return None if size < 0 else self.take(size).decode()

    def array(self, element):
        return [element() for _ in range(max(0, self.number("i")))]


class Connection:
    def __init__(self, bootstrap):
        host, port = bootstrap.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.correlation_id = 0

    def close(self):
        self.socket.close()

    def call(self, key, version, body):
        self.correlation_id += 1
        frame = struct.pack(">hhi", key, version, self.correlation_id) + string("raw") + body
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)
        answer = Reader(self.read(struct.unpack(">i", self.read(4))[0]))
        assert answer.number("i") == self.correlation_id
        return answer

    def read(self, size):
        parts = []
        while size > 0:
            part = self.socket.recv(min(size, 1 << 20))
            if not part:
                raise ConnectionError("the broker closed the connection")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def api_versions(self):
        """{key: (least, most)}"""
        answer = self.call(API_VERSIONS, 0, b"")
        assert answer.number("h") == 0
        return {key: (least, most) for key, least, most in answer.array(
            lambda: (answer.number("h"), answer.number("h"), answer.number("h")))}

    def create_topics(self, names, partitions, configs):
        """{name: error code}"""
        body = struct.pack(">i", len(names))
        for name in names:
            body += string(name) + struct.pack(">ihii", partitions, 1, 0, len(configs))
            for key, value in configs.items():
                body += string(key) + string(value)
        answer = self.call(CREATE_TOPICS, 2, body + struct.pack(">ib", 30_000, 0))
        answer.number("i")
        return dict(answer.array(lambda: (answer.string(), answer.number("h"), answer.string())[:2]))

    def delete_topics(self, names):
        """{name: error code}"""
        body = struct.pack(">i", len(names)) + b"".join(string(name) for name in names) + struct.pack(">i", 30_000)
        answer = self.call(DELETE_TOPICS, 1, body)
        answer.number("i")
        return dict(answer.array(lambda: (answer.string(), answer.number("h"))))

    def metadata(self, names):
        """{name: (error code, [(error code, partition, leader)])}"""
        answer = self.call(METADATA, 1, struct.pack(">i", len(names)) + b"".join(string(name) for name in names))
        answer.array(lambda: (answer.number("i"), answer.string(), answer.number("i"), answer.string()))
        answer.number("i")

        def partition():
            head = answer.number("h"), answer.number("i"), answer.number("i")
            answer.array(lambda: answer.number("i"))
            answer.array(lambda: answer.number("i"))
            return head

        def topic():
            error, name, _ = answer.number("h"), answer.string(), answer.number("b")
            return name, (error, answer.array(partition))

        return dict(answer.array(topic))

    def end_offset(self, topic, partition):
        body = struct.pack(">ii", -1, 1) + string(topic) + struct.pack(">iiq", 1, partition, -1)
        answer = self.call(LIST_OFFSETS, 1, body)
        assert answer.number("i") == 1
        answer.string()
        assert answer.number("i") == 1
        _, error, _, offset = (answer.number(form) for form in "ihqq")
        assert error == 0, "ListOffsets answers error %d" % error
        return offset

    def batches(self, topic, partition, end):
        """Every batch from the first offset up to `end`, checked on the way."""
        out = []
        offset = 0
        while offset < end:
            found = parse_batches(self.fetch(topic, partition, offset))
            assert found, "nothing at offset %d of %d" % (offset, end)
            for batch in found:
                if batch["last_offset"] < offset:
                    continue
                assert batch["base_offset"] == offset, "batch at %d, expected %d" % (batch["base_offset"], offset)
                offset = batch["last_offset"] + 1
                out.append(batch)
        assert offset == end
        return out

    def fetch(self, topic, partition, offset):
        body = struct.pack(">iiiibi", -1, 1_000, 1, 1 << 24, 0, 1) + string(topic)
        answer = self.call(FETCH, 4, body + struct.pack(">iiqi", 1, partition, offset, 1 << 22))
        answer.number("i")
        assert answer.number("i") == 1
        answer.string()
        assert answer.number("i") == 1
        _, error, _, _ = (answer.number(form) for form in "ihqq")
        assert error == 0, "Fetch answers error %d" % error
        answer.array(lambda: (answer.number("q"), answer.number("q")))
        return answer.take(max(0, answer.number("i")))


def parse_batches(data):
    """Whole batches only: the last one of a fetch may be cut."""
    out = []
    at = 0
    while len(data) - at >= 61:
        base_offset, length, epoch, magic, crc = struct.unpack_from(">qiibI", data, at)
        assert magic == 2, "magic %d" % magic
        assert length >= 49, "batch length %d" % length
        if len(data) - at - 12 < length:
            break
        body = data[at + 21:at + 12 + length]
        assert crc32c(body) == crc, "CRC of the batch at %d" % base_offset
        attributes, last_delta, base_ts, max_ts, producer_id, producer_epoch, sequence, count = struct.unpack_from(
            ">hiqqqhii", body, 0)
        assert last_delta == count - 1
        out.append({
            "base_offset": base_offset, "last_offset": base_offset + last_delta, "leader_epoch": epoch,
            "codec": CODECS[attributes & 7], "log_append_time": bool(attributes & 8), "count": count,
            "max_timestamp": max_ts, "producer_id": producer_id, "base_sequence": sequence, "payload": body[40:],
        })
        at += 12 + length
    return out


def payload_bytes(batch):
    """The records of a batch, for the codecs that the standard library has."""
    if batch["codec"] == "gzip":
        return zlib.decompress(batch["payload"], 31)
    return batch["payload"]


def crc_table():
    out = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        out.append(byte)
    return out


CRC_TABLE = crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
