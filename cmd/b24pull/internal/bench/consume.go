package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
)

// consumerSpec is what a process is to consume, and how.
type consumerSpec struct {
	Who      string
	At       address
	Messages int
	Profile  string // file for a CPU profile; "": none
}

// result is what a process has measured.
type result struct {
	Messages int
	Seconds  float64
	Allocs   uint64
	Bytes    uint64
	Pauses   uint64 // of a subscription whose queue was full
}

// Who consumes a stream.
const (
	whoSDK    = "this SDK"
	whoFleet  = "its fleet" // of idle subscriptions
	whoBare   = "bare loop"
	whoFrames = "frames alone"
	whoJS     = "official JS"
)

func (a *address) client() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.TLSClientConfig = &tls.Config{RootCAs: a.trusted()}
	return &http.Client{Transport: t}
}

// open opens a websocket with the library alone.
func (a *address) open(ctx context.Context, dialer *websocket.Dialer) (*websocket.Conn, error) {
	query := url.Values{"CHANNEL_ID": {channelID}}
	switch a.Version {
	case 4:
		query.Set("binaryMode", "true")
	case 5:
		query.Set("jsonRpc", "true")
	}
	ws, _, err := dialer.DialContext(ctx, a.socketURL()+"?"+query.Encode(), nil)
	return ws, err
}

// post tells the server to do something.
func (a *address) post(ctx context.Context, what string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL+what, nil)
	if err != nil {
		return err
	}
	answer, err := a.client().Do(request)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// measured runs what handles all messages and returns when the last one is.
func (spec *consumerSpec) measured(ctx context.Context, handled <-chan error) (r result, err error) {
	var before, after runtime.MemStats
	runtime.GC()
	stop, err := profile(spec.Profile)
	if err != nil {
		return r, err
	}
	defer stop()
	runtime.ReadMemStats(&before)
	begun := time.Now()
	if err := spec.At.post(ctx, "/go"); err != nil {
		return r, err
	}
	select {
	case err = <-handled:
	case <-ctx.Done():
		err = ctx.Err()
	}
	r = result{Messages: spec.Messages, Seconds: time.Since(begun).Seconds()}
	runtime.ReadMemStats(&after)
	r.Allocs, r.Bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	return r, err
}

// profile begins a CPU profile, which ends with stop; none if name is "".
func profile(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close()
	}, nil
}

// consume is the life of a consumer process.
func (spec *consumerSpec) consume(ctx context.Context) (result, error) {
	if spec.Who == whoSDK {
		return spec.consumeSDK(ctx)
	}
	take := map[string]map[int]func([]byte) (int, error){
		whoBare: {3: bareText, 4: bareProtobuf, 5: bareRPC},
	}[spec.Who][spec.At.Version]
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: spec.At.trusted()}}
	ws, err := spec.At.open(ctx, &dialer)
	if err != nil {
		return result{}, err
	}
	defer ws.Close()
	handled := make(chan error, 1)
	go func() { handled <- readAll(ws, spec.Messages, take) }()
	return spec.measured(ctx, handled)
}

// readAll reads frames until so many messages were taken; without a function
// until the connection has been silent for a while.
func readAll(ws *websocket.Conn, messages int, take func([]byte) (int, error)) error {
	for n := 0; n < messages; {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		took := bytes.Count(frame, []byte(`"module_id"`)) // a scan, to know the end
		if take != nil {
			if took, err = take(frame); err != nil {
				return err
			}
		}
		n += took
	}
	return nil
}

// consumeSDK is the subscription.
func (spec *consumerSpec) consumeSDK(ctx context.Context) (result, error) {
	s, err := spec.At.subscribe(spec.At.client())
	if err != nil {
		return result{}, err
	}
	handled, n := make(chan error, 1), 0
	ended := make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
			if n++; n == spec.Messages {
				handled <- nil
			}
			return nil
		}))
	}()
	if err := s.WaitReady(ctx); err != nil {
		return result{}, err
	}
	time.Sleep(settleFor)
	r, err := spec.measured(ctx, handled)
	s.Close()
	r.Pauses = s.Stats().Reconnects[realtime.CausePaused]
	return r, errors.Join(err, <-ended)
}

// settleFor is for the replay that follows a connection.
const settleFor = 300 * time.Millisecond

func (a *address) subscribe(client *http.Client, opts ...realtime.Option) (*realtime.Subscription, error) {
	source, err := a.source()
	if err != nil {
		return nil, err
	}
	return realtime.Subscribe(source, append(opts, realtime.WithHTTPClient(client))...)
}

// source has a config that leads to the server.
func (a *address) source() (realtime.ConfigSource, error) {
	config := new(b24pull.Config)
	err := json.Unmarshal(a.config(), config)
	return realtime.FromConfig(config), err
}

// body is what all messages hold.
type body struct {
	Module  string          `json:"module_id"`
	Command string          `json:"command"`
	Params  json.RawMessage `json:"params"`
	Extra   json.RawMessage `json:"extra"`
}

func bareProtobuf(frame []byte) (n int, err error) {
	err = eachProtobuf(frame, 0, func(message []byte) error {
		n++
		var b body
		return json.Unmarshal(message, &b)
	})
	return n, err
}

// eachProtobuf takes a batch apart, down to the bodies.
func eachProtobuf(b []byte, depth int, visit func(body []byte) error) error {
	const fieldBody, depthOfMessage = 2, 3
	for len(b) > 0 {
		num, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		if typ != protowire.BytesType {
			if size = protowire.ConsumeFieldValue(num, typ, b); size < 0 {
				return protowire.ParseError(size)
			}
			b = b[size:]
			continue
		}
		value, size := protowire.ConsumeBytes(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		var err error
		switch {
		case depth < depthOfMessage && num == 1:
			err = eachProtobuf(value, depth+1, visit)
		case depth == depthOfMessage && num == fieldBody:
			err = visit(value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func bareText(frame []byte) (n int, err error) {
	for part := range bytes.SplitSeq(frame, []byte("#!NGINXNMS!#")) {
		message, _, ok := bytes.Cut(part, []byte("#!NGINXNME!#"))
		if !ok {
			continue
		}
		var m struct {
			ID      json.Number `json:"id"`
			Mid     string      `json:"mid"`
			Channel string      `json:"channel"`
			Tag     string      `json:"tag"`
			Time    string      `json:"time"`
			Text    body        `json:"text"`
		}
		if err := json.Unmarshal(message, &m); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func bareRPC(frame []byte) (int, error) {
	var calls []struct {
		Method string `json:"method"`
		Params struct {
			Mid  string `json:"mid"`
			Body body   `json:"body"`
		} `json:"params"`
	}
	err := json.Unmarshal(frame, &calls)
	return len(calls), err
}

// consumerMain is the life of a consumer process.
func consumerMain(ctx context.Context, spec consumerSpec, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, runWithin)
	defer cancel()
	r, err := spec.consume(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(r)
}

// runWithin bounds one run.
const runWithin = 2 * time.Minute
