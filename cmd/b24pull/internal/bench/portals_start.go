package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/fleet"
)

// fleetSpec is what a process is to start.
type fleetSpec struct {
	Who     string
	At      portalServersAt
	Count   int
	AtOnce  int    // requests
	Profile string // file for a CPU profile; "": none
}

// started is what a process says when all is ready.
type started struct {
	Seconds float64
	Allocs  uint64
	Bytes   uint64
}

// startWithin bounds one start.
const startWithin = 5 * time.Minute

// fleetMain is the life of a process that starts many subscriptions.
func fleetMain(ctx context.Context, spec fleetSpec, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	stop, err := profile(spec.Profile)
	if err != nil {
		return err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := time.Now()
	if spec.Who == whoBare {
		err = spec.startBare(ctx)
	} else {
		var f *fleet.Fleet
		f, err = spec.startFleet(ctx)
		defer f.Keys() // it is there until then
	}
	took := time.Since(begun)
	stop()
	if err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	return json.NewEncoder(stdout).Encode(started{took.Seconds(), after.Mallocs - before.Mallocs, after.TotalAlloc - before.TotalAlloc})
}

// transport leads to the servers.
func (at *portalServersAt) transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.DialContext = at.dial
	t.TLSClientConfig = &tls.Config{RootCAs: at.trusted()}
	return t
}

func (at *portalServersAt) trusted() *x509.CertPool {
	if !at.Secure {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(at.Certificate))
	return pool
}

func (at *portalServersAt) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	for format, all := range map[string][]string{portalHost: at.Portals, pushHost: at.Push} {
		var n int
		if _, err := fmt.Sscanf(host, format, &n); err == nil {
			return new(net.Dialer).DialContext(ctx, network, all[n%len(all)])
		}
	}
	return nil, fmt.Errorf("there is no host %s", host)
}

func (at *portalServersAt) scheme() (web, socket, suffix string) {
	if at.Secure {
		return "https", "wss", "_secure"
	}
	return "http", "ws", ""
}

// webhook is that of a portal.
func (at *portalServersAt) webhook(n int) string {
	scheme, _, _ := at.scheme()
	return scheme + "://" + fmt.Sprintf(portalHost, n) + "/rest/1/c0de0c0de0c0de0c/"
}

// config is what a portal answers.
func (at *portalServersAt) config(n int) []byte {
	web, socket, suffix := at.scheme()
	host := fmt.Sprintf(pushHost, n%len(at.Push))
	now := time.Now()
	text := func(t time.Time) string { return t.Format(time.RFC3339) }
	config, err := json.Marshal(map[string]any{
		"server": map[string]any{
			"version": 4, "server_enabled": true, "mode": "shared", "hostname": fmt.Sprintf(portalHost, n), "websocket_enabled": true, "publish_enabled": false,
			"websocket" + suffix: socket + "://" + host + "/sub/", "long_polling" + suffix: web + "://" + host + "/sub/",
		},
		"api": map[string]any{"revision_web": 19, "revision_mobile": 3},
		"channels": map[string]any{
			"private": map[string]any{"id": portalChannel(n, 1), "type": "private", "start": text(now), "end": text(now.Add(lifetime))},
			"shared":  map[string]any{"id": portalChannel(n, 2), "type": "shared", "start": text(now), "end": text(now.Add(lifetime))},
		},
		"serverTime": text(now), "exp": now.Add(lifetime).Unix(),
	})
	if err != nil {
		panic(err)
	}
	return config
}

func portalChannel(n, kind int) string {
	return fmt.Sprintf("%024x%08x:%024x%08x.%040x", kind, n, kind+4, n, n)
}

// startFleet starts a fleet and waits until all of it is ready.
func (spec *fleetSpec) startFleet(ctx context.Context) (*fleet.Fleet, error) {
	ready := make(chan error, spec.Count)
	f, err := fleet.New(fleet.WithRequests(spec.AtOnce), fleet.WithObserver(func(e fleet.Event) {
		switch e.Kind {
		case fleet.KindReady:
			ready <- nil
		case fleet.KindFailed, fleet.KindWaiting:
			ready <- fmt.Errorf("%s: %w", e.Key, e.Err)
		}
	}))
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: spec.At.transport()}
	nothing := realtime.HandlerFunc(func(context.Context, realtime.Message) error { return nil })
	for n := range spec.Count {
		portal, err := b24pull.New(b24pull.Webhook(spec.At.webhook(n)), b24pull.WithHTTPClient(client), b24pull.WithPlainHTTP())
		if err != nil {
			return f, err
		}
		if err := f.Add(fmt.Sprintf(portalHost, n), realtime.PortalConfig(portal), nothing); err != nil {
			return f, err
		}
	}
	return f, allOf(ctx, spec.Count, ready)
}

// allOf waits for so many.
func allOf(ctx context.Context, count int, ready <-chan error) error {
	for n := range count {
		select {
		case err := <-ready:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("%d of %d are ready: %w", n, count, ctx.Err())
		}
	}
	return nil
}

// startBare does the same three steps with net/http and the websocket library
// alone.
func (spec *fleetSpec) startBare(ctx context.Context) error {
	sessions := tls.NewLRUClientSessionCache(0) // as subscriptions have one
	transport := spec.At.transport()
	transport.TLSClientConfig.ClientSessionCache = sessions
	client := &http.Client{Transport: transport}
	dialer := &websocket.Dialer{
		NetDialContext: spec.At.dial, TLSClientConfig: &tls.Config{RootCAs: spec.At.trusted(), ClientSessionCache: sessions},
		ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10, WriteBufferPool: new(sync.Pool),
	}
	ready := make(chan error, spec.Count)
	turns := make(chan struct{}, spec.AtOnce)
	for n := range spec.Count {
		go func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			ready <- spec.bare(ctx, client, dialer, n)
		}()
	}
	return allOf(ctx, spec.Count, ready)
}

func (spec *fleetSpec) bare(ctx context.Context, client *http.Client, dialer *websocket.Dialer, n int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, spec.At.webhook(n)+"pull.config.get", strings.NewReader(`{"CACHE":"Y"}`))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	answer, err := fetched(client, request)
	if err != nil {
		return err
	}
	var config struct {
		Result struct {
			Server   map[string]any `json:"server"`
			Channels map[string]struct {
				ID string `json:"id"`
			} `json:"channels"`
		} `json:"result"`
	}
	if err := json.Unmarshal(answer, &config); err != nil {
		return err
	}
	_, _, suffix := spec.At.scheme()
	query := url.Values{
		"CHANNEL_ID": {config.Result.Channels["private"].ID + "/" + config.Result.Channels["shared"].ID},
		"binaryMode": {"true"}, "revision": {"19"},
	}.Encode()
	ws, _, err := dialer.DialContext(ctx, fmt.Sprint(config.Result.Server["websocket"+suffix], "?", query), nil)
	if err != nil {
		return err
	}
	go drain(ws)
	zeros := strings.Repeat("0", 26)
	poll, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprint(config.Result.Server["long_polling"+suffix], "?", query, "&mid=", zeros), nil)
	if err != nil {
		return err
	}
	answer, err = fetched(client, poll)
	if err == nil && bytes.IndexByte(answer, '{') < 0 {
		err = fmt.Errorf("%s: the first replay brings nothing", poll.Host)
	}
	return err
}

func fetched(client *http.Client, request *http.Request) ([]byte, error) {
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}

// portalServersMain is the life of a process with portalServers: it says
// where they are, and at the end of stdin what they were asked for.
func portalServersMain(spec portalServersSpec, stdin io.Reader, stdout io.Writer) error {
	servers, err := newPortalServers(spec)
	if err != nil {
		return err
	}
	say := json.NewEncoder(stdout)
	if err := say.Encode(servers.at); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, stdin); err != nil {
		return err
	}
	return say.Encode(servers.counted())
}
