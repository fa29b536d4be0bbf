package control

import (
	"encoding/json"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

const (
	// mostRecords and mostRecordBytes bound the log of a portal, and that of
	// its messages.
	mostRecords     = 20_000
	mostRecordBytes = 16 << 20
)

// journal is what has happened on a portal, numbered from 1. It keeps the last
// of all events, and apart from them the last of messages, which requests and
// pings do not push out.
type journal struct {
	mu       sync.Mutex
	last     int64 // number of the last event
	all      ring
	messages ring
	more     chan struct{} // closed at the next event
	begin    time.Time     // what happened before is not taken down
	ended    bool
}

func newJournal() *journal { return &journal{more: make(chan struct{})} }

// event is an event with its number.
type event struct {
	N int64 `json:"n" doc:"The event's number."`
	pulltest.Event
}

// record is an event as it is given out.
type record struct {
	n    int64
	time time.Time
	kind pulltest.EventKind
	json []byte
}

// ring is the last records, oldest first.
type ring struct {
	records []record
	bytes   int
	gone    int64 // number of the last record that has been pushed out
}

func (r *ring) add(one record) {
	r.records = append(r.records, one)
	r.bytes += len(one.json)
	for len(r.records) > mostRecords || r.bytes > mostRecordBytes {
		r.bytes -= len(r.records[0].json)
		r.gone = r.records[0].n
		r.records[0] = record{}
		r.records = r.records[1:]
	}
}

// drop leaves out what happened before a moment. Nobody is to miss it.
func (r *ring) drop(before time.Time) {
	i := sort.Search(len(r.records), func(i int) bool { return !r.records[i].time.Before(before) })
	kept := r.records[i:]
	*r = ring{}
	for _, one := range kept {
		r.add(one)
	}
}

// after are the records with greater numbers, at most so many, and whether
// some of them are no longer there.
func (r *ring) after(n int64, most int) (records []record, lost bool) {
	i := sort.Search(len(r.records), func(i int) bool { return r.records[i].n > n })
	records = r.records[i:]
	return records[:min(most, len(records))], n < r.gone
}

// isMessage reports whether events of a kind are in the log of messages.
func isMessage(kind pulltest.EventKind) bool {
	return kind == pulltest.Published || kind == pulltest.Delivered
}

// add takes down an event.
func (j *journal) add(e pulltest.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Time.Before(j.begin) {
		return
	}
	j.last++
	data, err := json.Marshal(event{j.last, e})
	if err != nil {
		data = fmt.Appendf(nil, `{"n":%d,"kind":%q}`, j.last, e.Kind)
	}
	one := record{j.last, e.Time, e.Kind, data}
	j.all.add(one)
	if isMessage(e.Kind) {
		j.messages.add(one)
	}
	close(j.more)
	j.more = make(chan struct{})
}

// clear forgets all that happened before a moment, also what it is told of
// later. Numbers go on.
func (j *journal) clear(before time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.begin = before
	j.all.drop(before)
	j.messages.drop(before)
}

// end lets those go who wait.
func (j *journal) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.ended {
		j.ended = true
		close(j.more)
		j.more = make(chan struct{})
	}
}

// chapter is a part of a journal.
type chapter struct {
	records []record
	last    int64         // number of the last event there is
	lost    bool          // between the number asked for and the first record some are missing
	ended   bool          // there will be no more
	more    chan struct{} // closed when there is more to read
}

// read returns what stands behind a number.
func (j *journal) read(after int64, messages bool, most int) chapter {
	j.mu.Lock()
	defer j.mu.Unlock()
	from := &j.all
	if messages {
		from = &j.messages
	}
	c := chapter{last: j.last, ended: j.ended, more: j.more}
	c.records, c.lost = from.after(after, most)
	c.records = append([]record(nil), c.records...)
	return c
}
