package delivery

import (
	"math/bits"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

func sized(bytes int) Message { return Message{Record: wire.Record{Size: bytes}} }

// heldAs is the size of a message that takes so many bytes of a budget.
func heldAs(bytes int) int { return bytes - messageBytes }

// fill admits messages of a size until the queue refuses one, and returns how
// many there were.
func fill(q *Queue, size int) (n int) {
	for q.admit(size) {
		q.push(sized(size))
		n++
	}
	return n
}

func popped(t *testing.T, q *Queue) {
	t.Helper()
	if _, _, ok := q.TryPop(); !ok {
		t.Fatal("the queue is empty")
	}
}

func told(q *Queue) bool {
	select {
	case <-q.Room:
		return true
	default:
		return false
	}
}

// TestBudget_Shares: what one queue takes leaves room for the others, and none
// is refused its own share.
func TestBudget_Shares(t *testing.T) {
	const bytes, share, size = 100_000, 10_000, 1000
	b := NewBudget(bytes, share)
	var all []*Queue
	for range 20 {
		q := NewQueue(1<<20, 1<<30)
		q.Join(b)
		all = append(all, q)
	}
	total := 0
	for i, q := range all {
		got := fill(q, heldAs(size)) * size
		total += got
		if want := share + bytes>>(i+1); i < 4 && (got < want-2*size || got > want+2*size) || got < share {
			t.Errorf("the %dth of those that are stuck has %d bytes, want about %d", i+1, got, want)
		}
		if b.Taken() > bytes {
			t.Fatalf("%d bytes of %d are taken", b.Taken(), bytes)
		}
	}
	if most := bytes + len(all)*share; total > most {
		t.Errorf("%d bytes are queued, want %d at the most", total, most)
	}
	for _, q := range all {
		q.Quit()
	}
	if b.Taken() != 0 {
		t.Errorf("%d bytes are taken by nobody", b.Taken())
	}
}

// TestBudget_Room: a queue that was refused is told of room when there is some
// for what was refused, whatever the others do.
func TestBudget_Room(t *testing.T) {
	b := NewBudget(100_000, 10_000)
	stuck, q := NewQueue(1<<20, 1<<30), NewQueue(1<<20, 1<<30)
	stuck.Join(b)
	q.Join(b)
	if !stuck.admit(heldAs(500_000)) { // an empty one takes anything
		t.Fatal("an empty queue refuses a message")
	}
	if n := fill(q, heldAs(1000)); n != 10 {
		t.Errorf("it has %d messages, want those of its share", n)
	}
	for range 4 {
		popped(t, q)
	}
	if told(q) {
		t.Error("it is told although more than half of its share is taken")
	}
	popped(t, q)
	if !told(q) {
		t.Error("it is not told that half of its share is free")
	}
	if q.admit(heldAs(6000)) {
		t.Fatal("there is room for 6,000 bytes")
	}
	if told(q) {
		t.Error("it is told at once although there is no room for what was refused")
	}
	popped(t, q)
	if !told(q) || !q.admit(heldAs(6000)) {
		t.Error("there is no room for what was refused")
	}
	fill(q, heldAs(1000))
	if q.admit(heldAs(50_000)) {
		t.Fatal("there is room for 50,000 bytes")
	}
	for told(q) || q.messages.Load() > 1 {
		popped(t, q)
		if told(q) && q.messages.Load() > 0 {
			t.Fatal("it is told although there is no room for what was refused")
		}
	}
}

// TestBudget_SmallMessages: messages that pin next to nothing take room as well:
// what they are made of.
func TestBudget_SmallMessages(t *testing.T) {
	if size := unsafe.Sizeof(Message{}); size > messageBytes || size < messageBytes*3/4 && bits.UintSize == 64 {
		t.Errorf("a message has %d bytes, and %d are counted", size, messageBytes)
	}
	const share = 100 * (messageBytes + 1)
	q := NewQueue(1<<20, 1<<30)
	q.Join(NewBudget(0, share))
	if n := fill(q, 1); n != 100 {
		t.Errorf("%d messages of a byte have room in a share of %d bytes", n, share)
	}
	if n, bytes := q.Taken(); n != 100 || bytes != 100 {
		t.Errorf("%d messages are queued, of %d bytes", n, bytes)
	}
	for range 99 {
		popped(t, q)
	}
	told(q)
	if q.admit(share - messageBytes - 1) {
		t.Fatal("there is room for what was refused")
	}
	if told(q) {
		t.Error("it is told although there is no room for what was refused")
	}
}

// TestBudget_GivenBack: whatever becomes of messages, what is taken of a budget
// is what its queues hold beyond their shares, and nothing when they have quit.
func TestBudget_GivenBack(t *testing.T) {
	b := NewBudget(1<<20, 4<<10)
	var all []*Queue
	var run sync.WaitGroup
	for i := range 6 {
		q := NewQueue(1<<20, 1<<30)
		q.Join(b)
		all = append(all, q)
		ended := make(chan struct{})
		run.Go(func() {
			defer close(ended)
			r := rand.New(rand.NewPCG(3, uint64(i)))
			for range resttest.Rounds(60_000) {
				size := r.IntN(9000)
				switch {
				case r.IntN(20) == 0:
					q.grant(size)
				case !q.admit(size):
					runtime.Gosched()
					continue
				}
				if r.IntN(10) == 0 {
					q.drop(size)
				} else {
					q.push(sized(size))
				}
			}
		})
		run.Go(func() {
			for {
				if _, _, ok := q.TryPop(); ok {
					continue
				}
				select {
				case <-ended:
					return
				default:
					runtime.Gosched()
				}
			}
		})
	}
	run.Wait()
	beyond := 0
	for _, q := range all {
		for range 7 {
			q.grant(3000)
		}
		messages, bytes := q.Taken()
		beyond += max(bytes+messages*messageBytes-4<<10, 0)
	}
	if taken := b.Taken(); taken != beyond || beyond == 0 {
		t.Errorf("%d bytes are taken, and %d are held", taken, beyond)
	}
	for _, q := range all {
		q.Quit()
	}
	if taken := b.Taken(); taken != 0 {
		t.Errorf("%d bytes are taken by nobody", taken)
	}
}

// TestBudget_Concurrently: whatever queues do at the same time, they never hold
// more than the budget and their shares, and what they give back is what they
// have taken.
func TestBudget_Concurrently(t *testing.T) {
	const bytes, share, queues, smallest, largest = 2_000_000, 20_000, 8, 300, 15_000 // an empty queue takes no more than its share
	many := resttest.Rounds(20_000)
	b := NewBudget(bytes, share)
	var all []*Queue
	var run, watch sync.WaitGroup
	stop := make(chan struct{})
	for i := range queues {
		q := NewQueue(1<<20, 1<<30)
		q.Join(b)
		all = append(all, q)
		handed := make(chan struct{}, 1<<20)
		run.Go(func() {
			defer close(handed)
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for n := 0; n < many; {
				size := heldAs(smallest + r.IntN(largest-smallest))
				if !q.admit(size) {
					runtime.Gosched()
					continue
				}
				q.push(sized(size))
				handed <- struct{}{}
				n++
			}
		})
		run.Go(func() {
			for n := 0; ; n++ {
				if i%2 == 0 && n%200 == 0 { // this one's queue fills meanwhile
					time.Sleep(time.Millisecond)
				}
				if _, more := <-handed; !more {
					return
				}
				if _, _, ok := q.TryPop(); !ok {
					t.Error("what was pushed is not there")
				}
			}
		})
	}
	var most int
	watch.Go(func() {
		for {
			most = max(most, b.Taken())
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	run.Wait()
	close(stop)
	watch.Wait()
	if most > bytes || most < bytes/2 {
		t.Errorf("%d bytes of %d were taken at the most", most, bytes)
	}
	for i, q := range all {
		if n, left := q.Taken(); n != 0 || left != 0 {
			t.Errorf("queue %d holds %d messages of %d bytes", i, n, left)
		}
	}
	if b.Taken() != 0 {
		t.Errorf("%d bytes are taken of nothing", b.Taken())
	}
}
