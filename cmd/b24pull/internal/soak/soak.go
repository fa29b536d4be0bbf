package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// soak is a run of the program: a load is published, connections are cut and
// consumers killed meanwhile, and the tally says what came of it.
type soak struct {
	*options
	log        *lines
	consume    consumeFunc
	tally      *tally
	server     *server
	proxies    proxies
	publishers []*publisher
	consumer   *consumer
	folder     string // of its cursor
	memory     memory

	fail    context.CancelCauseFunc // ends all
	life    int
	present *running // nil while there is no consumer
	beside  sync.WaitGroup
}

// newSoak makes all that is needed, and starts nothing but the proxies.
func newSoak(o *options, stderr io.Writer, consume consumeFunc) (*soak, error) {
	s := &soak{options: o, log: &lines{out: stderr}, consume: consume, tally: newTally(o.saveEvery + o.saveSlack)}
	var err error
	if s.server, err = o.server(); err != nil {
		return nil, err
	}
	s.consumer = &consumer{
		Config: s.server.config, Roots: s.server.roots, Polling: o.transport == "poll", SaveEvery: o.saveEvery, Handling: o.handling(),
	}
	addrs, err := s.server.addresses()
	if err == nil {
		s.proxies, err = newProxies(addrs, o.delay)
	}
	if err == nil {
		s.consumer.Detours = s.proxies.detours()
		s.publishers, err = newPublishers(s.server, s.tally)
	}
	if err == nil && o.apart() {
		s.folder, err = os.MkdirTemp("", "soak")
		s.consumer.Cursor = filepath.Join(s.folder, "cursor")
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *soak) close() {
	for _, p := range s.publishers {
		p.close()
	}
	s.proxies.close()
	s.server.close()
	if s.folder != "" {
		_ = os.RemoveAll(s.folder)
	}
}

// run does it all. When ctx is done no more is published, and what was is
// waited for.
func (s *soak) run(ctx context.Context) error {
	s.log.say("%s", s.server.name)
	work, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	s.fail = fail
	watched := make(chan struct{})
	s.beside.Go(func() { s.progress(watched) })
	scenario := s.publishing
	if s.backlog > 0 {
		scenario = s.backlogged
		s.beside.Go(func() { s.memory.sample(watched) })
	}
	err := scenario(work, ctx.Done())
	close(watched)
	if s.present != nil {
		if failed := s.present.stop(); err == nil {
			err = failed
		}
	}
	fail(nil)
	s.beside.Wait()
	return err
}

// publishing publishes to a consumer that is there, and may be killed now and
// then.
func (s *soak) publishing(ctx context.Context, stopped <-chan struct{}) error {
	if err := s.begin(ctx, stopped); err != nil {
		return err
	}
	stopCutting := s.cutting()
	defer stopCutting()
	killed := make(chan error, 1)
	go func() { killed <- s.killing(ctx, stopped) }()
	err := s.publish(ctx, stopped, load{messages: s.messages, rate: s.rate, burst: s.burst, transient: s.transient})
	if failed := <-killed; err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	stopCutting()
	return s.settle(ctx)
}

// publish publishes a load. When it cannot, all is over.
func (s *soak) publish(ctx context.Context, stopped <-chan struct{}, l load) error {
	err := publish(ctx, stopped, s.publishers, l)
	if err != nil {
		s.fail(err)
	}
	return err
}

// begin starts the first consumer and waits until it is ready.
func (s *soak) begin(ctx context.Context, stopped <-chan struct{}) error {
	if err := s.start(); err != nil {
		return err
	}
	select {
	case <-s.present.up:
		s.deceiving(ctx)
		return nil
	case <-stopped:
		return errors.New("interrupted before the subscription was established")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// deceiving puts a false web server in the place of long polling for a while.
func (s *soak) deceiving(ctx context.Context) {
	if s.falsely > 0 {
		s.beside.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, s.falsely)
			defer cancel()
			s.server.deceive(ctx)
			s.log.say("long polling is true again")
		})
	}
}

// start starts a consumer. One that ends by itself is a failure of all.
func (s *soak) start() error {
	w := newWitness(s.tally, s.life, s.log)
	var r *running
	if s.apart() {
		var err error
		if r, err = startProcess(s.consumer, w, s.log, s.environment()...); err != nil {
			return err
		}
		s.memory.watch(r.pid)
	} else {
		r = startHere(s.consume, s.consumer, w)
	}
	s.present = r
	s.beside.Go(func() {
		<-r.over
		if !r.wanted.Load() {
			s.fail(r.ended())
		}
	})
	return nil
}

// kill kills the consumer.
func (s *soak) kill() error {
	at, err := s.present.die()
	if err != nil {
		return err
	}
	s.tally.killed(at)
	s.life++
	s.present = nil
	return nil
}

// killing kills and starts consumers, spread over all that is published.
func (s *soak) killing(ctx context.Context, stopped <-chan struct{}) error {
	for k := range s.kills {
		after := int((float64(k) + rand.Float64()) / float64(s.kills) * float64(s.messages))
		due := func() bool { return s.tally.now().kept >= after && s.saved() }
		if err := wait(ctx, stopped, due); err != nil {
			return err
		}
		select {
		case <-stopped:
			return nil
		case <-time.After(rand.N(20 * time.Millisecond)):
		}
		err := s.kill()
		if err == nil {
			err = s.start()
		}
		if err != nil {
			s.fail(err)
			return err
		}
	}
	return nil
}

// saved reports whether a consumer that is started now has something to go on
// from.
func (s *soak) saved() bool {
	_, err := os.Stat(s.consumer.Cursor)
	return err == nil
}

// wait waits until something is so, or until stopped.
func wait(ctx context.Context, stopped <-chan struct{}, so func() bool) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !so() {
		select {
		case <-ticker.C:
		case <-stopped:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// cutting cuts at random intervals until it is told to stop.
func (s *soak) cutting() (stop func()) {
	if s.cut.max == 0 {
		return func() {}
	}
	done := make(chan struct{})
	s.beside.Go(func() {
		for {
			select {
			case <-time.After(s.cut.random()):
			case <-done:
				return
			}
			if s.proxies.cut() {
				s.tally.cut()
			}
		}
	})
	return sync.OnceFunc(func() { close(done) })
}

// settle waits until all has arrived, or nothing has for so long that it never
// will; and then a little longer, for what comes twice.
func (s *soak) settle(ctx context.Context) error {
	arrived, since := -1, time.Now()
	err := wait(ctx, nil, func() bool {
		c := s.tally.now()
		if n := c.arrived(); n != arrived {
			arrived, since = n, time.Now()
		}
		return c.lost() == 0 || time.Since(since) > s.wait
	})
	if err != nil {
		return err
	}
	select {
	case <-time.After(s.grace):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// progress says every second how things stand.
func (s *soak) progress(done <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for start := time.Now(); ; {
		select {
		case <-ticker.C:
			s.log.say("%.0f s: %s", time.Since(start).Seconds(), s.tally.now().progress())
		case <-done:
			return
		}
	}
}

// verdict is what is to be said in the end, and whether all is well.
func (s *soak) verdict(stdout io.Writer) bool {
	c := s.tally.now()
	s.log.say("%s", c.progress())
	if missing := s.tally.missing(20); len(missing) > 0 {
		s.log.say("the first that are lost: %v", missing)
	}
	if c.unknown > 0 {
		s.log.say("%d messages came that were never published", c.unknown)
	}
	flat := true
	if s.backlog > 0 && s.memory.known() {
		fmt.Fprintln(stdout, &s.memory)
		if flat = s.memory.flat(); !flat {
			s.log.say("the consumer has not kept to %d MiB", flatLimit>>20)
		}
	}
	fmt.Fprintln(stdout, c)
	return flat && !c.bad()
}
