package gate

import "context"

type key struct{}

// passing is what a context has requests do.
type passing struct {
	gate  *Gate
	outer *Place // of which they are a part; may be nil
}

// With has the requests that are made with a context, by who knows of gates,
// take a place each; outer, which may be nil, is one that stands for them as
// long as it is taken.
func With(ctx context.Context, g *Gate, outer *Place) context.Context {
	if g == nil {
		return ctx
	}
	return context.WithValue(ctx, key{}, passing{g, outer})
}

// Enter takes a place in the context's gate, if it has one. See [Gate.Enter].
func Enter(ctx context.Context, kind Kind, host string, wait func()) (*Place, error) {
	p, _ := ctx.Value(key{}).(passing)
	if p.outer.isTaken() {
		return nil, nil
	}
	return p.gate.Enter(ctx, kind, host, wait)
}

// Pause gives up the place that stands for the context's requests: there is
// none for a while.
func Pause(ctx context.Context) {
	p, _ := ctx.Value(key{}).(passing)
	p.outer.Leave()
}

func (p *Place) isTaken() bool {
	if p == nil {
		return false
	}
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	return p.state == stateTaken
}
