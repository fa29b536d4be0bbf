package realtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/b24pull/b24pull/internal/atomicfile"
	"github.com/b24pull/b24pull/internal/doze"
	"github.com/b24pull/b24pull/internal/sleep"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
)

// A CursorStore keeps the cursor of one subscription, so that another run of
// the program goes on where this one stopped. Its methods are not called at the
// same time. They must return soon after their context is done: a run waits for
// them.
//
// A run begins with a Load, and a Save of what was loaded, the zero Cursor if
// there was nothing: a store that does not work is found before the first
// message.
type CursorStore interface {
	// Load returns what was saved last, or the zero Cursor if nothing was. An
	// error ends the subscription before it begins: a position that cannot be
	// read is not taken for none.
	Load(ctx context.Context) (Cursor, error)

	// Save keeps a cursor in place of the one before. When it returns nil, c is
	// what Load returns, whatever happens to the process. An error of the first
	// Save of a run ends the subscription before it begins. After a later one
	// it is called again, but at the end of a run: that last save has ten
	// seconds, so that Close and Drain lose no position to a store that is
	// slow, and one second from the moment on that the run's context is done.
	// If it fails, what was handled since the save before comes again.
	Save(ctx context.Context, c Cursor) error
}

// MemoryStore is a [CursorStore] that lasts as long as the process, for tests
// and for subscriptions that are made anew within one. The zero MemoryStore is
// empty.
type MemoryStore struct {
	mu     sync.Mutex
	cursor Cursor
}

// Load implements [CursorStore].
func (s *MemoryStore) Load(context.Context) (Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor, nil
}

// Save implements [CursorStore].
func (s *MemoryStore) Save(_ context.Context, c Cursor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor = c
	return nil
}

// CursorFile is a [CursorStore] in a file. A save writes a new file beside it,
// named .tmp, has it and its folder synced to the disk, and puts it in place at
// once: whenever the machine stops, there is the cursor before or the one
// after. Where the path is a symbolic link, the file that it leads to is
// replaced; a link in a folder that everybody may write is refused. Only its
// owner can read it.
//
// A cursor is no secret, but who may write it can have messages be skipped. So
// its folder is refused if everybody may write it, or may put another in its
// place: if a folder above it, or one that a link leads through, is
// writable by everybody and has no sticky bit. Volumes of containers, which
// everybody may write (an emptyDir of Kubernetes), are taken where they are
// mounted: whoever shares a volume is trusted. That is found out on Linux
// alone.
//
// A file that cannot be replaced, but written, is written in place, and synced:
// one that is mounted alone into a container, or whose folder the process may
// not write. It then holds the cursor before beside the new one, each with a
// checksum, and neither is written over the other: a crash, a power cut or a
// full disk in the middle of a save leaves the one before. What that needs and
// a replaced file does not is a disk that leaves alone what is not written. To
// begin without a cursor mount an empty file; elsewhere an empty file is an
// error.
//
// One subscription uses a file at a time. If a save finds that another has
// written it, it fails once and says so.
type CursorFile struct {
	file atomicfile.File

	mu    sync.Mutex
	known bool   // what the file holds:
	last  []byte // nothing if there is none
}

// NewCursorFile returns a store in the file at path, which is made by the first
// save; its folder must be there. An empty path is refused; what else is wrong
// with the path is an error of Load or of the first Save, which both end a run
// before its first message.
func NewCursorFile(path string) (*CursorFile, error) {
	if path == "" {
		return nil, errNoPath
	}
	return &CursorFile{file: atomicfile.File{Path: path, Follow: true, Check: true}}, nil
}

// errNoPath is also what a CursorFile says that NewCursorFile has not made.
var errNoPath = errors.New("realtime: cursor file: the path is empty; give NewCursorFile the path of a file")

// Load implements [CursorStore]. A file that is not there is an empty store;
// one that does not hold a cursor is an error.
func (s *CursorFile) Load(context.Context) (Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.file.Path
	if path == "" {
		return Cursor{}, errNoPath
	}
	text, err := s.file.Read()
	s.known, s.last = err == nil || errors.Is(err, fs.ErrNotExist), text
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Cursor{}, nil
	case errors.Is(err, atomicfile.ErrDamaged):
		return Cursor{}, fmt.Errorf("realtime: cursor file: %w%s", err, restore)
	case err != nil:
		return Cursor{}, fmt.Errorf("realtime: cursor file: %w%s", err, atomicfile.Advice(err))
	}
	var c Cursor
	if err := c.UnmarshalText(bytes.TrimSpace(text)); err != nil {
		return Cursor{}, fmt.Errorf("realtime: cursor file %s: %w%s", path, err, restore)
	}
	if c.IsZero() {
		return Cursor{}, fmt.Errorf("realtime: cursor file %s is empty; remove it to begin with what is published from now on, or restore it", path)
	}
	return c, nil
}

// restore is what can be done about a file that holds no cursor.
const restore = "; restore it, or remove it (empty it, if it is mounted alone) to start without a cursor"

// Save implements [CursorStore]. To save the zero Cursor removes the file.
func (s *CursorFile) Save(_ context.Context, c Cursor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.file.Path
	if path == "" {
		return errNoPath
	}
	if s.taken() {
		s.known = false
		return fmt.Errorf("realtime: cursor file %s: another process has written it; only one subscription may use it", path)
	}
	s.known = false
	text, err := s.write(c)
	if err != nil {
		return fmt.Errorf("realtime: cursor file: %w%s", err, atomicfile.Advice(err))
	}
	s.known, s.last = true, text
	return nil
}

func (s *CursorFile) write(c Cursor) (text []byte, err error) {
	if c.IsZero() {
		return nil, s.file.Clear()
	}
	if text, err = c.MarshalText(); err != nil {
		return nil, err
	}
	text = append(text, '\n')
	return text, s.file.Write(text)
}

// taken reports whether another has written the file.
func (s *CursorFile) taken() bool {
	if !s.known {
		return false
	}
	text, err := s.file.Read()
	return err == nil && !bytes.Equal(text, s.last)
}

const (
	// defaultSaveInterval is how often a changed cursor is saved.
	defaultSaveInterval = time.Second
	// lastSave bounds the saving of the cursor at the end of a run,
	// cancelledSave that since its context was done.
	lastSave      = 10 * time.Second
	cancelledSave = time.Second
)

// committer saves the cursor of a running subscription as it changes, but not
// for each message. A nil committer is that of a subscription without a store,
// and has nothing to do.
type committer struct {
	store    CursorStore
	acks     *delivery.Acks
	interval time.Duration
	events   *emitter

	bed      doze.Bed
	running  sync.WaitGroup // run
	failures int            // of run, in a row

	turn   chan struct{} // held by the one who saves, whose are
	saved  string        // what the store holds
	failed int           // saves in a row that have failed

	fell  bool // run was ended by a save: the store has panicked, and may be locked
	tried atomic.Pointer[time.Time]
}

// newCommitter wants options whose cursor is the one that the store holds.
func newCommitter(o *options, l *delivery.Acks, events *emitter) *committer {
	if o.store == nil {
		return nil
	}
	c := &committer{store: o.store, acks: l, interval: o.saveInterval, events: events, turn: make(chan struct{}, 1), saved: o.cursor.String()}
	l.Watch(c.bed.Wake)
	return c
}

// start has run run beside the consumer while there is something to save, until
// the context is done.
func (c *committer) start(ctx context.Context, g *guard) {
	if c == nil {
		return
	}
	c.bed.Rise = func() { c.running.Go(func() { g.do(func() { c.run(ctx) }) }) }
	c.bed.Rise()
}

// stop waits for run, whose context is done.
func (c *committer) stop() {
	if c == nil {
		return
	}
	c.bed.Close()
	c.running.Wait()
}

// run saves until there is nothing to save, or the context is done.
func (c *committer) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-c.acks.Changed:
		default:
			if c.bed.Sleep(func() bool { return len(c.acks.Changed) == 0 }) {
				return
			}
			continue
		}
		delay := time.Duration(0)
		if tried := c.tried.Load(); tried != nil {
			delay = time.Until(tried.Add(c.interval))
		}
		if c.failures > 0 {
			delay = max(delay, replayBackoff(c.failures))
		}
		if !sleep.For(ctx, delay) {
			return
		}
		c.fell = true
		err := c.save(ctx, false)
		c.fell = false
		if err != nil {
			c.failures++
			c.acks.Again()
			continue
		}
		c.failures = 0
	}
}

// save saves the cursor, if it is another than the one saved last, and tells of
// it. Saves come one after the other; the last one of a run says so.
func (c *committer) save(ctx context.Context, last bool) error {
	if c == nil {
		return nil
	}
	told, err := c.saveInTurn(ctx, last)
	if told != nil { // not in its turn: who is told may save, too
		c.events.post(told)
	}
	if err != nil {
		return savingFailed(err)
	}
	return nil
}

func savingFailed(err error) error { return fmt.Errorf("realtime: saving the cursor: %w", err) }

func (c *committer) saveInTurn(ctx context.Context, last bool) (told Event, err error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	at, ok := c.acks.Position()
	cursor := Cursor{at}
	text := cursor.String()
	if !ok || text == c.saved {
		return nil, nil
	}
	begun := time.Now()
	c.tried.Store(&begun)
	switch err := c.store.Save(ctx, cursor); {
	case err == nil:
		c.saved, c.failed = text, 0
		return Saved{Took: time.Since(begun), Count: 1}, nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()) && !last:
		return nil, err // given up, and another one follows
	default:
		c.failed++
		return SaveFailed{Err: err, Attempt: c.failed, Last: last, Count: 1}, err
	}
}

// finish saves what is left when all has stopped, even if that was because the
// context is done.
func (c *committer) finish(ctx context.Context) error {
	if c == nil || c.fell {
		return nil // or the panic says why
	}
	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		select {
		case <-ctx.Done():
			sleep.For(saving, cancelledSave)
			cancel()
		case <-saving.Done():
		}
	})
	return c.save(saving, true)
}
