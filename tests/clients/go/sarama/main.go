// The sarama client: each request in the version that its `Version` setting says.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"corelog-client-tests/jobs"
)

func main() {
	jobs.Main(jobs.Program{Produce: produce, Consume: consume, Checks: checks, Member: member})
}

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Consumer.Return.Errors = true
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	return config
}

// null keeps null and empty apart: an Encoder that is nil is null.
func null(data []byte) sarama.Encoder {
	if data == nil {
		return nil
	}
	return sarama.ByteEncoder(data)
}

func produce(bootstrap string, job *jobs.Job) error {
	settings := config()
	settings.Producer.Compression = codecs[job.Codec]
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, settings)
	if err != nil {
		return err
	}
	defer producer.Close()
	messages := make([]*sarama.ProducerMessage, len(job.Records))
	for i, record := range job.Records {
		messages[i] = &sarama.ProducerMessage{Topic: job.Topic, Partition: record.Partition, Key: null(record.Key),
			Value: null(record.Value), Timestamp: time.UnixMilli(record.Timestamp)}
		for _, header := range record.Headers {
			messages[i].Headers = append(messages[i].Headers,
				sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value})
		}
	}
	return producer.SendMessages(messages)
}

func consume(bootstrap string, list []*jobs.Job) error {
	consumer, err := sarama.NewConsumer([]string{bootstrap}, config())
	if err != nil {
		return err
	}
	defer consumer.Close()
	messages := make(chan *sarama.ConsumerMessage)
	failures := make(chan error)
	done := make(chan struct{})
	defer close(done)
	byTopic := map[string]*jobs.Job{}
	missing := 0
	for _, job := range list {
		byTopic[job.Topic] = job
		missing += job.Count
		partitions, err := consumer.Partitions(job.Topic)
		if err != nil {
			return err
		}
		for _, partition := range partitions {
			reader, err := consumer.ConsumePartition(job.Topic, partition, 0)
			if err != nil {
				return err
			}
			defer reader.AsyncClose()
			go forward(reader, messages, failures, done)
		}
	}
	for deadline := time.After(time.Minute); missing > 0; missing-- {
		select {
		case message := <-messages:
			out := jobs.Record{Partition: message.Partition, Offset: message.Offset, Key: message.Key,
				Value: message.Value, Timestamp: message.Timestamp.UnixMilli()}
			for _, header := range message.Headers {
				out.Headers = append(out.Headers, jobs.Header{Name: string(header.Key), Value: header.Value})
			}
			if err := byTopic[message.Topic].Dump(out); err != nil {
				return err
			}
		case err := <-failures:
			return err
		case <-deadline:
			return fmt.Errorf("%d records are missing", missing)
		}
	}
	return nil
}

func member(ctx context.Context, m *jobs.Member) error {
	settings := config()
	settings.Consumer.Group.Session.Timeout = 6 * time.Second
	settings.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	settings.Consumer.Group.InstanceId = m.Instance
	settings.Consumer.Offsets.Initial = sarama.OffsetOldest
	settings.Consumer.Offsets.AutoCommit.Enable = false
	group, err := sarama.NewConsumerGroup([]string{m.Bootstrap}, m.Group, settings)
	if err != nil {
		return err
	}
	go func() {
		for range group.Errors() {
			// The broker's restart; it tries again.
		}
	}()
	for ctx.Err() == nil {
		if group.Consume(ctx, []string{m.Topic}, handler{m}) != nil {
			time.Sleep(100 * time.Millisecond)
		}
	}
	return group.Close()
}

type handler struct{ member *jobs.Member }

func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	h.member.Change(session.Claims()[h.member.Topic], nil)
	return nil
}

func (h handler) Cleanup(session sarama.ConsumerGroupSession) error {
	h.member.Change(nil, session.Claims()[h.member.Topic])
	return nil
}

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		h.member.Read(message.Partition, message.Offset)
		session.MarkMessage(message, "")
		session.Commit()
	}
	return nil
}

func forward(reader sarama.PartitionConsumer, messages chan<- *sarama.ConsumerMessage, failures chan<- error, done <-chan struct{}) {
	for {
		select {
		case message := <-reader.Messages():
			select {
			case messages <- message:
			case <-done:
				return
			}
		case err := <-reader.Errors():
			select {
			case failures <- err:
			case <-done:
			}
			return
		case <-done:
			return
		}
	}
}

func checks(c *jobs.Checks) {
	topic := c.Prefix + "-sarama"
	admin, err := sarama.NewClusterAdmin([]string{c.Bootstrap}, config())
	if err != nil {
		panic(err)
	}
	defer admin.Close()

	send := func(topic string, value []byte, change func(*sarama.Config)) (int64, error) {
		settings := config()
		change(settings)
		producer, err := sarama.NewSyncProducer([]string{c.Bootstrap}, settings)
		if err != nil {
			return -1, err
		}
		defer producer.Close()
		_, offset, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(value)})
		return offset, err
	}
	acks := func(acks sarama.RequiredAcks) func(*sarama.Config) {
		return func(settings *sarama.Config) { settings.Producer.RequiredAcks = acks }
	}
	retention := "-1"
	c.Run("creates and lists a topic", func() error {
		detail := &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1,
			ConfigEntries: map[string]*string{"retention.ms": &retention}}
		if err := admin.CreateTopic(topic, detail, false); err != nil {
			return err
		}
		c.Settle()
		topics, err := admin.ListTopics()
		if err != nil {
			return err
		}
		return jobs.Equal(topics[topic].NumPartitions, 2)
	})
	c.Run("produces with acks all, 1 and 0", func() error {
		first, err := send(topic, []byte("x"), acks(sarama.WaitForAll))
		second, err2 := send(topic, []byte("x"), acks(sarama.WaitForLocal))
		_, err3 := send(topic, []byte("x"), acks(sarama.NoResponse))
		if err := errors.Join(err, err2, err3, jobs.Equal(first, 0), jobs.Equal(second, 1)); err != nil {
			return err
		}
		client, err := sarama.NewClient([]string{c.Bootstrap}, config())
		if err != nil {
			return err
		}
		defer client.Close()
		return jobs.Awaited(3, func() (int64, error) { return client.GetOffset(topic, 0, sarama.OffsetNewest) })
	})
	c.Run("produces with idempotence", func() error {
		offset, err := send(topic, []byte("x"), func(settings *sarama.Config) {
			settings.Producer.Idempotent = true
			settings.Net.MaxOpenRequests = 1
		})
		return errors.Join(err, jobs.Equal(offset, 3))
	})
	c.Run("speaks the versions of 0.11 and 2.1", func() error {
		for _, version := range []sarama.KafkaVersion{sarama.V0_11_0_2, sarama.V2_1_0_0} {
			if _, err := send(topic, []byte("x"), func(settings *sarama.Config) { settings.Version = version }); err != nil {
				return fmt.Errorf("%s: %w", version, err)
			}
		}
		return nil
	})
	c.Run("lists offsets", func() error {
		client, err := sarama.NewClient([]string{c.Bootstrap}, config())
		if err != nil {
			return err
		}
		defer client.Close()
		oldest, err := client.GetOffset(topic, 0, sarama.OffsetOldest)
		newest, err2 := client.GetOffset(topic, 0, sarama.OffsetNewest)
		return errors.Join(err, err2, jobs.Equal(oldest, 0), jobs.Equal(newest, 6))
	})
	c.Run("is told that a record is too large", func() error {
		_, err := send(topic, make([]byte, 2_000_000), func(settings *sarama.Config) {
			settings.Producer.MaxMessageBytes = 5_000_000
		})
		return jobs.Is(err, sarama.ErrMessageSizeTooLarge)
	})
	c.Run("is told that a topic is unknown", func() error {
		_, err := send(topic+"-unknown", []byte("x"), func(settings *sarama.Config) {
			settings.Metadata.AllowAutoTopicCreation = false
			settings.Metadata.Retry.Max = 1
		})
		return jobs.Is(err, sarama.ErrUnknownTopicOrPartition)
	})
	c.Run("is told that a name is invalid", func() error {
		err := admin.CreateTopic("not a name", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false)
		return jobs.Is(err, sarama.ErrInvalidTopic)
	})
	c.Run("is told that the replication factor is invalid", func() error {
		err := admin.CreateTopic(topic+"-rf", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 2}, false)
		return jobs.Is(err, sarama.ErrInvalidReplicationFactor)
	})
	if c.Corelog {
		c.Run("is refused a transactional producer for good", func() error { return transaction(c) })
	}
	c.Run("deletes a topic", func() error { return admin.DeleteTopic(topic) })
}

func transaction(c *jobs.Checks) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		settings := config()
		settings.Producer.Idempotent = true
		settings.Producer.Transaction.ID = c.Prefix + "-sarama"
		settings.Net.MaxOpenRequests = 1
		producer, err := sarama.NewSyncProducer([]string{c.Bootstrap}, settings)
		if err == nil {
			producer.Close()
		}
		answer <- err
	}()
	select {
	case err := <-answer:
		if err == nil {
			return errors.New("a transactional producer was let in")
		}
		return nil
	case <-ctx.Done():
		return errors.New("the client went on trying")
	}
}
