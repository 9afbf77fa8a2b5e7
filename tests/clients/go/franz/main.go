// The franz-go client: highest versions, topic ids, idempotent by default.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"corelog-client-tests/jobs"
)

func main() {
	jobs.Main(jobs.Program{Produce: produce, Consume: consume, Checks: checks, Member: member})
}

func codec(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.NoCompression()
}

func produce(bootstrap string, job *jobs.Job) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ProducerBatchCompression(codec(job.Codec)),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(200*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	records := make([]*kgo.Record, len(job.Records))
	for i, record := range job.Records {
		records[i] = &kgo.Record{Topic: job.Topic, Partition: record.Partition, Key: record.Key, Value: record.Value,
			Timestamp: time.UnixMilli(record.Timestamp)}
		for _, header := range record.Headers {
			records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: header.Name, Value: header.Value})
		}
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

func consume(bootstrap string, list []*jobs.Job) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	byTopic := map[string]*jobs.Job{}
	topics := []string{}
	missing := 0
	for _, job := range list {
		byTopic[job.Topic] = job
		topics = append(topics, job.Topic)
		missing += job.Count
	}
	plain, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	details, err := kadm.NewClient(plain).ListTopics(ctx, topics...)
	plain.Close()
	if err != nil {
		return err
	}
	assigned := map[string]map[int32]kgo.Offset{}
	details.EachPartition(func(partition kadm.PartitionDetail) {
		if assigned[partition.Topic] == nil {
			assigned[partition.Topic] = map[int32]kgo.Offset{}
		}
		assigned[partition.Topic][partition.Partition] = kgo.NewOffset().At(0)
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumePartitions(assigned),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return err
	}
	defer client.Close()
	for missing > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("%d records are missing: %w", missing, err)
		}
		var failed error
		fetches.EachError(func(topic string, partition int32, err error) { failed = err })
		fetches.EachRecord(func(record *kgo.Record) {
			missing--
			out := jobs.Record{Partition: record.Partition, Offset: record.Offset, Key: record.Key, Value: record.Value,
				Timestamp: record.Timestamp.UnixMilli()}
			for _, header := range record.Headers {
				out.Headers = append(out.Headers, jobs.Header{Name: header.Key, Value: header.Value})
			}
			failed = errors.Join(failed, byTopic[record.Topic].Dump(out))
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

func member(ctx context.Context, m *jobs.Member) error {
	options := []kgo.Opt{kgo.SeedBrokers(m.Bootstrap), kgo.ConsumerGroup(m.Group), kgo.ConsumeTopics(m.Topic),
		kgo.DisableAutoCommit(), kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.FetchMaxWait(100 * time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			m.Change(added[m.Topic], nil)
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, removed map[string][]int32) {
			m.Change(nil, removed[m.Topic])
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, removed map[string][]int32) {
			m.Change(nil, removed[m.Topic])
		})}
	if m.Cooperative {
		options = append(options, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	} else {
		options = append(options, kgo.Balancers(kgo.RangeBalancer()))
	}
	if m.Instance != "" {
		options = append(options, kgo.InstanceID(m.Instance))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(record *kgo.Record) { m.Read(record.Partition, record.Offset) })
		// What a rebalance or the broker's restart prevents, a later commit says too.
		client.CommitUncommittedOffsets(ctx)
	}
	return nil
}

func checks(c *jobs.Checks) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	topic := c.Prefix + "-franz"
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap))
	if err != nil {
		panic(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)

	// Produces one record to partition 0; its offset.
	send := func(topic string, value []byte, options ...kgo.Opt) (int64, error) {
		client, err := kgo.NewClient(append(options, kgo.SeedBrokers(c.Bootstrap), kgo.UnknownTopicRetries(1),
			kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err != nil {
			return -1, err
		}
		defer client.Close()
		record, err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: value}).First()
		if err != nil {
			return -1, err
		}
		return record.Offset, nil
	}
	retention := "-1"
	c.Run("creates a topic and sees it by id", func() error {
		created, err := admin.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": &retention}, topic)
		if err != nil {
			return err
		}
		c.Settle()
		listed, err := admin.ListTopics(ctx, topic)
		if err != nil {
			return err
		}
		return errors.Join(jobs.Equal(listed[topic].ID, created.ID), jobs.Equal(len(listed[topic].Partitions), 2))
	})
	c.Run("describes its configs", func() error {
		described, err := admin.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return err
		}
		for _, config := range described[0].Configs {
			if config.Key == "retention.ms" {
				return jobs.Equal(config.MaybeValue(), "-1")
			}
		}
		return errors.New("retention.ms is not described")
	})
	c.Run("adds partitions", func() error {
		answers, err := admin.UpdatePartitions(ctx, 4, topic)
		return errors.Join(err, answers.Error())
	})
	c.Run("is told that fewer partitions are invalid", func() error {
		answers, err := admin.UpdatePartitions(ctx, 2, topic)
		return errors.Join(err, jobs.Is(answers.Error(), kerr.InvalidPartitions))
	})
	c.Run("produces with acks all, 1 and 0", func() error {
		for offset, options := range [][]kgo.Opt{
			{},
			{kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DisableIdempotentWrite()},
			{kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()},
		} {
			got, err := send(topic, []byte("acks"), options...)
			if err := errors.Join(err, jobs.Equal(got, int64(offset))); err != nil {
				return err
			}
		}
		if _, err := send(topic, []byte("acks"), kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite()); err != nil {
			return err
		}
		return jobs.Awaited(4, func() (int64, error) {
			ends, err := admin.ListEndOffsets(ctx, topic)
			end, _ := ends.Lookup(topic, 0)
			return end.Offset, err
		})
	})
	c.Run("lists offsets", func() error {
		starts, err := admin.ListStartOffsets(ctx, topic)
		ends, err2 := admin.ListEndOffsets(ctx, topic)
		committed, err3 := admin.ListCommittedOffsets(ctx, topic)
		if err := errors.Join(err, err2, err3); err != nil {
			return err
		}
		start, _ := starts.Lookup(topic, 0)
		end, _ := ends.Lookup(topic, 0)
		stable, _ := committed.Lookup(topic, 0)
		return errors.Join(jobs.Equal(start.Offset, 0), jobs.Equal(end.Offset, 4), jobs.Equal(stable.Offset, 4))
	})
	c.Run("is told that a record is too large", func() error {
		_, err := send(topic, make([]byte, 2_000_000), kgo.ProducerBatchMaxBytes(5_000_000),
			kgo.ProducerBatchCompression(kgo.NoCompression()))
		return jobs.Is(err, kerr.MessageTooLarge)
	})
	c.Run("is told that a topic is unknown", func() error {
		_, err := send(topic+"-unknown", []byte("x"))
		return jobs.Is(err, kerr.UnknownTopicOrPartition)
	})
	c.Run("gets a topic created by producing to it", func() error {
		_, err := send(topic+"-auto", []byte("x"), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(10))
		return err
	})
	c.Run("is told that a name is invalid", func() error {
		_, err := admin.CreateTopic(ctx, 1, 1, nil, "not a name")
		return jobs.Is(err, kerr.InvalidTopicException)
	})
	c.Run("is told that the replication factor is invalid", func() error {
		_, err := admin.CreateTopic(ctx, 1, 2, nil, topic+"-rf")
		return jobs.Is(err, kerr.InvalidReplicationFactor)
	})
	c.Run("is told that a config is invalid", func() error {
		_, err := admin.CreateTopic(ctx, 1, 1, map[string]*string{"no.such.config": &retention}, topic+"-config")
		return jobs.Is(err, kerr.InvalidConfig)
	})
	if c.Corelog {
		c.Run("is refused a transactional producer for good", func() error { return transaction(c, topic) })
	}
	c.Run("deletes topics", func() error {
		answers, err := admin.DeleteTopics(ctx, topic, topic+"-auto")
		return errors.Join(err, answers.Error())
	})
	c.Run("is told that a deleted topic is unknown", func() error {
		c.Settle()
		_, err := admin.DeleteTopic(ctx, topic)
		return jobs.Is(err, kerr.UnknownTopicOrPartition)
	})
}

func transaction(c *jobs.Checks, topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap), kgo.TransactionalID(c.Prefix),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	if err = client.BeginTransaction(); err == nil {
		err = client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr()
	}
	switch {
	case err == nil:
		return errors.New("a transactional producer was let in")
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the client went on trying")
	}
	return nil
}
