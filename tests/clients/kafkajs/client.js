// KafkaJS: produces, and consumes as a member of a group (it cannot assign partitions by hand). gzip is built in, snappy and lz4 come by its plugins; for zstd
// its own plugin (@kafkajs/zstd) no longer compiles, so a WebAssembly build is plugged in the same way.
//
//   node client.js codecs
//   node client.js produce --bootstrap B (--topic T --codec C --input F)...
//   node client.js checks  --bootstrap B --prefix P --broker corelog|kafka
//   node client.js member  --bootstrap B --group G --topic T
"use strict";
const fs = require("fs");
const { Kafka, CompressionTypes, CompressionCodecs, Partitioners, logLevel } = require("kafkajs");

const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP };

async function plugIn() {
  CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");
  codecs.snappy = CompressionTypes.Snappy;
  try {
    const LZ4 = require("kafkajs-lz4");
    CompressionCodecs[CompressionTypes.LZ4] = new LZ4().codec;
    codecs.lz4 = CompressionTypes.LZ4;
  } catch (error) {
    // Optional: it compiles at installation, which not every machine can. `codecs` then doesn't list it.
  }
  const zstd = require("@bokuweb/zstd-wasm");
  await zstd.init();
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer)),
    decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
  });
  codecs.zstd = CompressionTypes.ZSTD;
}

const bytes = (text) => (text === null ? null : Buffer.from(text, "base64"));

// A name that occurs more than once becomes a list, which is how KafkaJS takes it.
function headers(pairs) {
  const out = {};
  for (const [name, value] of pairs) {
    if (name in out) out[name] = [].concat(out[name], [bytes(value)]);
    else out[name] = bytes(value);
  }
  return out;
}

const kafka = (options) =>
  new Kafka({ brokers: [options.bootstrap], logLevel: logLevel.NOTHING, retry: { retries: 3, initialRetryTime: 100 } });

async function withProducer(options, settings, body) {
  const producer = kafka(options).producer({ createPartitioner: Partitioners.DefaultPartitioner, ...settings });
  await producer.connect();
  try {
    return await body(producer);
  } finally {
    await producer.disconnect();
  }
}

async function produce(options, jobs) {
  await withProducer(options, {}, async (producer) => {
    for (const job of jobs) {
      const lines = fs.readFileSync(job.input, "ascii").split("\n").filter(Boolean).map(JSON.parse);
      const messages = lines.map((line) => ({
        partition: line.partition,
        key: bytes(line.key),
        value: bytes(line.value),
        headers: headers(line.headers),
        timestamp: String(line.timestamp),
      }));
      await producer.send({ topic: job.topic, compression: codecs[job.codec], messages });
    }
  });
}

async function checks(options) {
  const topic = options.prefix + "-kafkajs";
  const admin = kafka(options).admin();
  await admin.connect();

  const run = async (name, check) => {
    try {
      await check();
      console.log("ok " + name);
    } catch (error) {
      console.log(`FAIL ${name}: ${String(error).replaceAll("\n", " ")}`);
    }
  };
  const equal = (actual, wanted) => {
    if (actual !== wanted) throw new Error(`${actual} instead of ${wanted}`);
  };
  const refused = async (type, action) => {
    let answer;
    try {
      answer = await action();
    } catch (error) {
      const inner = [error, error.cause, ...(error.errors || [])].filter(Boolean);
      if (!inner.some((one) => one.type === type)) throw error;
      return;
    }
    throw new Error(`${type} was expected, got ${JSON.stringify(answer)}`);
  };
  const send = (value, settings, acks) =>
    withProducer(options, settings, (producer) =>
      producer.send({ topic, acks, messages: [{ partition: 0, value }] }));

  // Lets the metadata of a broker that answers too early settle. Corelog has to do without.
  const settle = () => new Promise((resolve) => setTimeout(resolve, options.broker === "corelog" ? 0 : 500));

  const end = async () => (await admin.fetchTopicOffsets(topic)).find((one) => one.partition === 0).high;

  await run("creates a topic", async () => {
    equal(await admin.createTopics({ topics: [{ topic, numPartitions: 2, replicationFactor: 1 }] }), true);
    equal((await admin.listTopics()).includes(topic), true);
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    equal(topics[0].partitions.length, 2);
  });
  await run("adds partitions", async () => {
    await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
    await settle();
    equal((await admin.fetchTopicOffsets(topic)).length, 3);
  });
  await run("produces with acks all, 1 and 0", async () => {
    equal((await send("x", {}, -1))[0].baseOffset, "0");
    equal((await send("x", {}, 1))[0].baseOffset, "1");
    await send("x", {}, 0);
    // Nothing says when acks=0 is done.
    for (let tries = 0; (await end()) !== "3"; tries++) {
      if (tries === 100) throw new Error("what was sent with acks=0 is not there");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  });
  await run("produces with idempotence", async () => {
    equal((await send("x", { idempotent: true }, -1))[0].baseOffset, "3");
  });
  await run("lists offsets", async () => {
    const first = (await admin.fetchTopicOffsets(topic)).find((one) => one.partition === 0);
    equal(first.low + " " + first.high, "0 4");
  });
  await run("describes the cluster", async () => {
    const { brokers, clusterId } = await admin.describeCluster();
    equal(brokers.length, 1);
    equal(typeof clusterId, "string");
  });
  await run("is told that a record is too large", () => refused("MESSAGE_TOO_LARGE", () => send("x".repeat(2e6), {}, -1)));
  await run("is told that a name is invalid", () =>
    refused("INVALID_TOPIC_EXCEPTION", () => admin.createTopics({ topics: [{ topic: "not a name", numPartitions: 1 }] })));
  await run("is told that the replication factor is invalid", () =>
    refused("INVALID_REPLICATION_FACTOR", () =>
      admin.createTopics({ topics: [{ topic: topic + "-rf", numPartitions: 1, replicationFactor: 2 }] })));
  await run("deletes a topic", async () => {
    await admin.deleteTopics({ topics: [topic] });
    await settle();
    equal((await admin.listTopics()).includes(topic), false);
  });
  await admin.disconnect();
}

// A member of a group until standard input ends. Says what it is assigned and what it has read and committed.
async function member(options, topic) {
  const settings = { groupId: options.group, sessionTimeout: 6000, heartbeatInterval: 500, retry: { retries: 50 } };
  const consumer = kafka(options).consumer(settings);
  const said = (words) => process.stdout.write(words.join(" ") + "\n");
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    const assigned = payload.memberAssignment[topic] || [];
    said(["assigned", ...assigned.sort((one, other) => one - other)]);
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    autoCommitThreshold: 1,
    eachMessage: async ({ partition, message }) => said(["read", partition, message.offset]),
  });
  await new Promise((resolve) => process.stdin.on("end", resolve).resume());
  // After a lost connection it may wait for a retry of its own first: then its session ends it.
  await Promise.race([consumer.disconnect(), new Promise((resolve) => setTimeout(resolve, 5000))]);
  process.exit(0);
}

async function main([verb, ...words]) {
  const common = {};
  const jobs = [];
  for (let i = 0; i + 1 < words.length; i += 2) {
    const name = words[i].replace("--", "");
    if (name === "topic") jobs.push({});
    (jobs.length > 0 ? jobs[jobs.length - 1] : common)[name] = words[i + 1];
  }
  await plugIn();
  if (verb === "codecs") console.log(Object.keys(codecs).join(" "));
  else if (verb === "produce") await produce(common, jobs);
  else if (verb === "checks") await checks(common);
  else if (verb === "member") await member(common, jobs[0].topic);
  else throw new Error("unknown verb " + verb);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
