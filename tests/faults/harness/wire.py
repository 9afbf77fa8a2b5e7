"""Frames and record batches by hand, for what no client sends. Oldest versions that brokers still serve."""

import socket
import struct
import time

PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS, CREATE_TOPICS, INIT_PRODUCER_ID = 0, 1, 2, 3, 18, 19, 22
DELETE_RECORDS, DESCRIBE_CONFIGS, DESCRIBE_LOG_DIRS, INCREMENTAL_ALTER_CONFIGS = 21, 32, 35, 44
EARLIEST, LATEST = -2, -1
# COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR.
COORDINATOR_LATER = (14, 15, 16)
GZIP, LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 1, 8, 16, 32
BATCH_HEADER_BYTES = 61
# Where the checksum stands, and where what it covers begins.
CRC_AT, CRC_FROM = 17, 21


def string(text):
    if text is None:
        return b"\xff\xff"
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def varint(number):
    zigzag = (number << 1) ^ (number >> 63)
    zigzag &= (1 << 64) - 1
    out = bytearray()
    while zigzag >= 0x80:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


def crc_table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


TABLE = list(crc_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def record(delta, value, key=None, length=None):
    """One record; `length` replaces the true one."""
    body = b"\0" + varint(0) + varint(delta)
    body += varint(-1) if key is None else varint(len(key)) + key
    body += varint(-1) if value is None else varint(len(value)) + value
    body += varint(0)
    return varint(len(body) if length is None else length) + body


def batch(values=(b"value",), producer_id=-1, epoch=-1, sequence=-1, attributes=0, magic=2, payload=None, count=None,
          last_delta=None, length=None, crc=None):
    """A batch, right unless an argument says otherwise."""
    if payload is None:
        payload = b"".join(record(delta, value) for delta, value in enumerate(values))
    count = len(values) if count is None else count
    last_delta = len(values) - 1 if last_delta is None else last_delta
    # Now: brokers forget the producers of old batches.
    stamp = int(time.time() * 1000)
    covered = struct.pack(">hiqqqhii", attributes, last_delta, stamp, stamp, producer_id, epoch, sequence, count) + payload
    crc = crc32c(covered) if crc is None else crc
    length = 9 + len(covered) if length is None else length
    return struct.pack(">qiibI", 0, length, -1, magic, crc) + covered


def frame(key, version, body=b"", correlation_id=1, client_id="faults"):
    head = struct.pack(">hhi", key, version, correlation_id) + string(client_id)
    return struct.pack(">i", len(head) + len(body)) + head + body


def produce_body(topic, records, partition=0, acks=-1, timeout_ms=30_000):
    head = string(None) + struct.pack(">hii", acks, timeout_ms, 1) + string(topic) + struct.pack(">ii", 1, partition)
    return head + struct.pack(">i", len(records)) + records


class Reader:
    """Takes big-endian fields in order."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, size):
        assert 0 <= size <= len(self.data) - self.at, "the answer ends too early"
        self.at += size
        return self.data[self.at - size:self.at]

    def numbers(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(">" + form)))

    def number(self, form):
        return self.numbers(form)[0]

    def string(self):
        size = self.number("h")
        return None if size < 0 else self.take(size).decode()


class Closed(OSError):
    """The broker closed the connection instead of answering."""


class Connection:
    def __init__(self, bootstrap, seconds=30):
        host, port = bootstrap.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation_id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from None

    def read(self, size):
        out = bytearray()
        while len(out) < size:
            try:
                part = self.socket.recv(size - len(out))
            except ConnectionResetError as error:
                raise Closed(str(error)) from None
            if not part:
                raise Closed("closed after %d of %d bytes" % (len(out), size))
            out += part
        return bytes(out)

    def answer(self):
        return Reader(self.read(struct.unpack(">i", self.read(4))[0]))

    def call(self, key, version, body=b""):
        self.correlation_id += 1
        self.send(frame(key, version, body, self.correlation_id))
        answer = self.answer()
        assert answer.number("i") == self.correlation_id, "an answer to another request"
        return answer

    def is_closed_by_peer(self):
        """Whether the broker closes within the socket's timeout instead of answering."""
        try:
            self.read(1)
        except Closed:
            return True
        except TimeoutError:
            return False
        return False

    def api_versions(self, version=0, body=b""):
        """(error code, {key: (least, most)}), read as version 0."""
        answer = self.call(API_VERSIONS, version, body)
        error, count = answer.numbers("hi")
        return error, {key: (least, most) for key, least, most in (answer.numbers("hhh") for _ in range(count))}

    def create_topic(self, name, partitions=1, replication_factor=1, configs=()):
        """The error code."""
        body = struct.pack(">i", 1) + string(name) + struct.pack(">ihii", partitions, replication_factor, 0, len(configs))
        body += b"".join(string(key) + string(value) for key, value in configs)
        answer = self.call(CREATE_TOPICS, 2, body + struct.pack(">ib", 30_000, 0))
        answer.numbers("ii")
        answer.string()
        return answer.number("h")

    def produce(self, topic, records, partition=0, acks=-1, version=3):
        """(error code, base offset)"""
        answer = self.call(PRODUCE, version, produce_body(topic, records, partition, acks))
        answer.number("i")
        answer.string()
        _, _, error, base_offset, _ = answer.numbers("iihqq")
        return error, base_offset

    def end_offset(self, topic, partition=0):
        return self.offset(topic, LATEST, partition)

    def offset(self, topic, time, partition=0):
        body = struct.pack(">ii", -1, 1) + string(topic) + struct.pack(">iiq", 1, partition, time)
        answer = self.call(LIST_OFFSETS, 1, body)
        answer.number("i")
        answer.string()
        _, _, error, _, offset = answer.numbers("iihqq")
        assert error == 0, "ListOffsets answers error %d" % error
        return offset

    def set_config(self, kind, name, key, value):
        """The error code; without a value the setting is deleted."""
        body = struct.pack(">ib", 1, kind) + string(name) + struct.pack(">i", 1) + string(key)
        body += struct.pack(">b", 1 if value is None else 0) + string(value) + b"\0"
        answer = self.call(INCREMENTAL_ALTER_CONFIGS, 0, body)
        return answer.numbers("iih")[2]

    def config(self, kind, name, key):
        """(value, source)"""
        body = struct.pack(">ib", 1, kind) + string(name) + struct.pack(">i", 1) + string(key) + b"\0"
        answer = self.call(DESCRIBE_CONFIGS, 1, body)
        _, _, error = answer.numbers("iih")
        assert error == 0, "DescribeConfigs answers error %d" % error
        answer.string()
        answer.number("b")
        answer.string()
        assert answer.number("i") == 1, "%s is not described" % key
        assert answer.string() == key
        value = answer.string()
        _, source = answer.numbers("bb")
        return value, source

    def delete_records(self, topic, before, partition=0):
        """(low watermark, error code)"""
        body = struct.pack(">i", 1) + string(topic) + struct.pack(">iiqi", 1, partition, before, 30_000)
        answer = self.call(DELETE_RECORDS, 0, body)
        answer.numbers("ii")
        answer.string()
        _, _, low_watermark, error = answer.numbers("iiqh")
        return low_watermark, error

    def log_dirs(self, topic):
        """{log directory: (error code, what lies there of the topic)}"""
        answer = self.call(DESCRIBE_LOG_DIRS, 1, struct.pack(">i", -1))
        _, count = answer.numbers("ii")
        out = {}
        for _ in range(count):
            error = answer.number("h")
            name = answer.string()
            out[name] = error, set()
            for _ in range(answer.number("i")):
                is_wanted = answer.string() == topic
                for _ in range(answer.number("i")):
                    index, _, _, _ = answer.numbers("iqqb")
                    if is_wanted:
                        out[name][1].add(index)
        return out

    def init_producer_id(self, transactional_id=None):
        """(error code, producer id, epoch); a refusal that passes is met with patience, as clients do."""
        for _ in range(100):
            answer = self.call(INIT_PRODUCER_ID, 0, string(transactional_id) + struct.pack(">i", 60_000))
            _, error, producer_id, epoch = answer.numbers("ihqh")
            if error not in COORDINATOR_LATER:
                break
            time.sleep(0.1)
        return error, producer_id, epoch
