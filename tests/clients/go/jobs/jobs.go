// Package jobs is what the Go client programs share: the command line, the manifest, and how a check is reported.
//
//	PROGRAM produce --bootstrap B (--topic T --codec C --input F)...
//	PROGRAM consume --bootstrap B (--topic T --count N --output F)...
//	PROGRAM checks  --bootstrap B --prefix P --broker corelog|kafka
//	PROGRAM member  --bootstrap B --group G [--instance I] [--cooperative yes] --topic T
package jobs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bytes tells null from empty, in JSON and in the clients.
type Bytes = []byte

// Record is one line of a manifest, or of what a consumer read.
type Record struct {
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Key       Bytes    `json:"key"`
	Value     Bytes    `json:"value"`
	Headers   []Header `json:"headers"`
	Timestamp int64    `json:"timestamp"`
}

// Header is a pair in JSON.
type Header struct {
	Name  string
	Value Bytes
}

// MarshalJSON writes [name, value].
func (h Header) MarshalJSON() ([]byte, error) { return json.Marshal([]any{h.Name, h.Value}) }

// UnmarshalJSON reads [name, value].
func (h *Header) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&h.Name, &h.Value})
}

// Job is one topic to fill or to read.
type Job struct {
	Topic, Codec, Input, Output string
	Count                       int
	Records                     []Record
	out                         *bufio.Writer
}

// Program is one client under test.
type Program struct {
	Produce func(bootstrap string, job *Job) error
	Consume func(bootstrap string, jobs []*Job) error
	Checks  func(c *Checks)
	Member  func(ctx context.Context, m *Member) error
}

// Member is a member of a group until standard input ends. It says what it is assigned and what it has read and
// committed.
type Member struct {
	Bootstrap, Group, Instance, Topic string
	Cooperative                       bool
	lock                              sync.Mutex
	assigned                          map[int32]bool
}

// Change notes partitions that come and go, and says what is assigned now.
func (m *Member) Change(added, removed []int32) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.assigned == nil {
		m.assigned = map[int32]bool{}
	}
	for _, partition := range added {
		m.assigned[partition] = true
	}
	for _, partition := range removed {
		delete(m.assigned, partition)
	}
	line := "assigned"
	for partition := range m.assigned {
		line += " " + strconv.Itoa(int(partition))
	}
	fmt.Println(line)
}

// Read says what was read.
func (m *Member) Read(partition int32, offset int64) {
	m.lock.Lock()
	defer m.lock.Unlock()
	fmt.Println("read", partition, offset)
}

// Main runs the verb of the command line.
func Main(p Program) {
	if err := run(p, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(p Program, verb string, options []string) error {
	checks := &Checks{}
	member := &Member{}
	var list []*Job
	for i := 0; i+1 < len(options); i += 2 {
		value := options[i+1]
		switch options[i] {
		case "--bootstrap":
			checks.Bootstrap = value
		case "--group":
			member.Group = value
		case "--instance":
			member.Instance = value
		case "--cooperative":
			member.Cooperative = true
		case "--prefix":
			checks.Prefix = value
		case "--broker":
			checks.Corelog = value == "corelog"
		case "--topic":
			list = append(list, &Job{Topic: value})
		case "--codec":
			list[len(list)-1].Codec = value
		case "--input":
			list[len(list)-1].Input = value
		case "--output":
			list[len(list)-1].Output = value
		case "--count":
			count, err := strconv.Atoi(value)
			if err != nil {
				return err
			}
			list[len(list)-1].Count = count
		}
	}
	switch verb {
	case "produce":
		return produce(p, checks.Bootstrap, list)
	case "consume":
		return consume(p, checks.Bootstrap, list)
	case "checks":
		p.Checks(checks)
		return nil
	case "member":
		member.Bootstrap, member.Topic = checks.Bootstrap, list[0].Topic
		ctx, stop := context.WithCancel(context.Background())
		go func() {
			io.Copy(io.Discard, os.Stdin)
			stop()
		}()
		return p.Member(ctx, member)
	}
	return errors.New("unknown verb " + verb)
}

func produce(p Program, bootstrap string, list []*Job) error {
	for _, job := range list {
		file, err := os.Open(job.Input)
		if err != nil {
			return err
		}
		for decoder := json.NewDecoder(file); decoder.More(); {
			var record Record
			if err := decoder.Decode(&record); err != nil {
				return err
			}
			job.Records = append(job.Records, record)
		}
		file.Close()
		if err := p.Produce(bootstrap, job); err != nil {
			return fmt.Errorf("%s: %w", job.Topic, err)
		}
	}
	return nil
}

func consume(p Program, bootstrap string, list []*Job) error {
	for _, job := range list {
		file, err := os.Create(job.Output)
		if err != nil {
			return err
		}
		defer file.Close()
		job.out = bufio.NewWriter(file)
	}
	if err := p.Consume(bootstrap, list); err != nil {
		return err
	}
	for _, job := range list {
		if err := job.out.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// Dump writes what was read.
func (j *Job) Dump(record Record) error {
	if record.Headers == nil {
		record.Headers = []Header{}
	}
	line, err := json.Marshal(record)
	if err != nil {
		return err
	}
	_, err = j.out.Write(append(line, '\n'))
	return err
}

// Checks runs named checks; each prints one line and none stops the others.
type Checks struct {
	Bootstrap, Prefix string
	// What only Corelog refuses or promises is checked too.
	Corelog bool
}

// Run runs one check.
func (c *Checks) Run(name string, check func() error) {
	if err := check(); err != nil {
		fmt.Printf("FAIL %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Printf("ok %s\n", name)
}

// Settle lets the metadata of a broker that answers too early settle. Corelog has to do without.
func (c *Checks) Settle() {
	if !c.Corelog {
		time.Sleep(500 * time.Millisecond)
	}
}

// Awaited is an error unless read returns what is wanted within 10 seconds: nothing says when acks=0 is done.
func Awaited(wanted int64, read func() (int64, error)) error {
	for tries := 0; ; tries++ {
		got, err := read()
		if err != nil || got == wanted || tries == 100 {
			return errors.Join(err, Equal(got, wanted))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Equal is an error unless both are the same.
func Equal[T comparable](actual, wanted T) error {
	if actual != wanted {
		return fmt.Errorf("%v instead of %v", actual, wanted)
	}
	return nil
}

// Is is an error unless err is the wanted one.
func Is(err, wanted error) error {
	if !errors.Is(err, wanted) {
		return fmt.Errorf("%v instead of %v", err, wanted)
	}
	return nil
}
