package pulltest

import "sync"

// Bounds of what waits for a slow websocket; over them it is cut.
const (
	maxOutFrames = 1 << 16
	maxOutBytes  = 16 << 20
)

// outFrame is a websocket frame to be written: messages, which the writer
// encodes when it sends them, or data as it is.
type outFrame struct {
	kind     int // a websocket message type
	messages []*message
	history  bool // the messages are one answer
	data     []byte
}

// outbox is the queue between the hub, which never blocks, and the one
// goroutine that writes to a websocket.
type outbox struct {
	mu     sync.Mutex
	frames []outFrame
	bytes  int
	ended  bool
	wake   chan struct{}
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1)}
}

// push queues a frame. It reports false when the queue is full.
func (o *outbox) push(f outFrame) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return true
	}
	size := f.size()
	if len(o.frames) > 0 && (len(o.frames) >= maxOutFrames || o.bytes+size > maxOutBytes) {
		return false
	}
	o.frames = append(o.frames, f)
	o.bytes += size
	o.signal()
	return true
}

func (f outFrame) size() int {
	n := len(f.data)
	for _, m := range f.messages {
		n += len(m.encoded)
	}
	return n
}

// end lets the writer take what is queued and nothing more.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.signal()
}

// next waits for a frame; false means that there will be none.
func (o *outbox) next() (outFrame, bool) {
	for {
		o.mu.Lock()
		if len(o.frames) > 0 {
			f := o.frames[0]
			o.frames = o.frames[1:]
			o.bytes -= f.size()
			o.mu.Unlock()
			return f, true
		}
		ended := o.ended
		o.mu.Unlock()
		if ended {
			return outFrame{}, false
		}
		<-o.wake
	}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
