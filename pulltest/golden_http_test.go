package pulltest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// The channels of the tables below: {a} is a's as a client of version 4 sends
// it, {a3} as one of version 3 does; {on} is a channel that somebody listens to;
// the private ids are {pa} and {pon}.
func channelsOf(text string) string {
	for name, id := range map[string]string{
		"{a}": signedChannel("a"), "{a3}": md5hex("a") + "." + sign(md5hex("a")), "{pa}": md5hex("a"),
		"{on}": signedChannel("on"), "{on3}": md5hex("on") + "." + sign(md5hex("on")), "{pon}": md5hex("on"),
	} {
		text = strings.ReplaceAll(text, name, id)
	}
	return text
}

const (
	hangs       = 0
	nginx404    = "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
	infosOfOn   = `{"infos":[{"channel":"{pon}","subscribers":1}]}`
	nginxExpiry = "Expires: Thu, 01 Jan 1970 00:00:01 GMT"
)

// answers are what real servers said to requests without a body of note.
var answers = []struct {
	versions []int
	method   string
	path     string
	body     string
	status   int
	head     string // some lines of the header; one with - in front is not there
	want     string
}{
	// routes are matched by their beginning and need their slash
	{[]int{3, 4}, "GET", "/sub?CHANNEL_ID={a3}", "", 404, "Content-Type: text/plain|Access-Control-Allow-Origin: *", ""},
	{[]int{3, 4}, "GET", "/sub/x?CHANNEL_ID={a3}", "", hangs, "", ""},
	{[]int{3, 4}, "GET", "/sub/x/y/?CHANNEL_ID={a3}", "", hangs, "", ""},
	{[]int{3, 4}, "GET", "/sub/../sub/?CHANNEL_ID={a3}", "", hangs, "", ""},
	{[]int{3, 4}, "GET", "//sub/?CHANNEL_ID={a3}", "", 404, "Content-Type: text/plain|Access-Control-Allow-Origin: *", ""},
	{[]int{3, 4}, "GET", "/%73ub/?CHANNEL_ID={a3}", "", 404, "", ""},
	{[]int{3, 4}, "GET", "/SUB/?CHANNEL_ID={a3}", "", 404, "", ""},
	{[]int{3, 4}, "GET", "/subws/?CHANNEL_ID={a3}", "", 404, "", ""},
	{[]int{3, 4}, "GET", "/foo", "", 404, "Content-Type: text/plain|Access-Control-Allow-Origin: *", ""},
	{[]int{3, 4}, "POST", "/sub/?CHANNEL_ID={a3}", "x", 404, "", ""},
	{[]int{3, 4}, "OPTIONS", "/sub/", "", 200, "Access-Control-Allow-Methods: POST, GET, DELETE, OPTIONS|-Access-Control-Expose-Headers", ""},
	{[]int{3, 4}, "OPTIONS", "/sub", "", 404, "", ""},
	{[]int{3, 4}, "OPTIONS", "/pub/", "", 404, "", ""},
	{[]int{3, 4}, "POST", "/rest?CHANNEL_ID={a}", "x", 404, "", ""},
	{[]int{3, 4}, "POST", "/pub?CHANNEL_ID={pa}", "x", 404, "", ""},
	{[]int{3, 4}, "POST", "/server-stat/", "x", 404, "", ""},
	{[]int{3, 4}, "GET", "/server-stat", "", 404, "", ""},
	{[]int{3}, "POST", "/rest/?CHANNEL_ID={a3}", "x", 404, "", ""},
	{[]int{1}, "GET", "/foo", "", 404, "Content-Type: text/html|-Access-Control-Allow-Origin", nginx404},
	{[]int{1}, "GET", "/sub?CHANNEL_ID={pa}", "", 404, "", nginx404},
	{[]int{1}, "GET", "/sub/x?CHANNEL_ID={pa}", "", hangs, "", ""},
	{[]int{1}, "GET", "/server-stat/", "", 404, "", nginx404},
	{[]int{1}, "POST", "/rest/?CHANNEL_ID={pa}", "x", 404, "", nginx404},

	// polls
	{[]int{4}, "GET", "/sub/?CHANNEL_ID=zz", "", 400, "Access-Control-Expose-Headers: Last-Message-Id", "4010: Wrong Channel Id."},
	{[]int{4}, "GET", "/sub/", "", 400, "Access-Control-Expose-Headers: Last-Message-Id", "4010: Wrong Channel Id."},
	{[]int{3}, "GET", "/sub/?CHANNEL_ID=zz", "", 400, "Access-Control-Expose-Headers: Last-Message-Id", "Channel id is not correct."},
	{[]int{3}, "GET", "/sub/", "", 400, "Access-Control-Expose-Headers: Last-Message-Id", "No channel id provided."},
	{[]int{4}, "GET", "/sub/?CHANNEL_ID={on}&binaryMode=true&mid=" + zeros, "", 200, "-Access-Control-Expose-Headers|Content-Type: application/octet-stream", "-"},
	{[]int{4}, "GET", "/sub/?CHANNEL_ID={on}&binaryMode=true&binaryMode=true&mid=" + zeros, "", 200, "Content-Type: text/plain", "-"},
	{[]int{3}, "GET", "/sub/?CHANNEL_ID={on3}&mid=" + zeros, "", 200, "Access-Control-Expose-Headers: Last-Message-Id", "-"},
	{[]int{3, 4}, "GET", "/sub/?CHANNEL_ID={on3}&mid=" + zeros + "&mid=" + zeros, "", hangs, "", ""},
	{[]int{1}, "GET", "/sub/", "", 400, "X-Nginx-Pushstream-Explain: No channel id provided.|Access-Control-Allow-Methods: GET|Cache-Control: no-cache, no-store, must-revalidate|" + nginxExpiry, ""},
	{[]int{1}, "OPTIONS", "/sub/?CHANNEL_ID={pa}", "", 200, "Access-Control-Allow-Headers: If-Modified-Since,If-None-Match,Etag,Event-Id,Event-Type,Last-Event-Id|-Content-Type", ""},
	{[]int{1}, "POST", "/sub/?CHANNEL_ID={pa}", "x", 405, "Allow: GET|" + nginxExpiry, ""},
	{[]int{1}, "HEAD", "/sub/?CHANNEL_ID={pa}", "", 405, "Allow: GET", ""},
	{[]int{1}, "GET", "/subws/?CHANNEL_ID={pa}", "", 400, "X-Nginx-Pushstream-Explain: Don't have at least one of the mandatory headers: Connection, Upgrade, Sec-WebSocket-Key and Sec-WebSocket-Version", ""},

	// who is online
	{[]int{4}, "GET", "/pub/?CHANNEL_ID={pon}/{pa}", "", 200, "Content-Type: text/plain", infosOfOn},
	{[]int{4}, "GET", "/pub/?CHANNEL_ID={on}", "", 200, "", infosOfOn},
	{[]int{4}, "GET", "/pub/?CHANNEL_ID={pon}/{pon}", "", 200, "", `{"infos":[{"channel":"{pon}","subscribers":1},{"channel":"{pon}","subscribers":1}]}`},
	{[]int{4}, "GET", "/pub/?CHANNEL_ID={pa}", "", 200, "", `{"infos":[]}`},
	{[]int{4}, "GET", "/pub/?CHANNEL_ID=zz", "", 400, "Content-Type: text/plain", noChannels},
	{[]int{4}, "GET", "/pub/?CHANNEL_ID=", "", 400, "", noChannels},
	{[]int{4}, "GET", "/pub/", "", 400, "", noChannels},
	{[]int{4}, "GET", "/pub/?CHANNEL_ID={pa}" + strings.Repeat("/{pa}", 100), "", 400, "", tooManyChannels},
	{[]int{4}, "GET", "/pub/?binaryMode=true&CHANNEL_ID={pon}", "", 200, "Content-Type: application/octet-stream", "-"},
	{[]int{3}, "GET", "/pub/?CHANNEL_ID={pon}/{pa}", "", 200, "Content-Type: text/plain|-Access-Control-Allow-Origin", `{ "infos": [{"channel":"{pon}","subscribers":1}]}`},
	{[]int{3}, "GET", "/pub/?binaryMode=true&CHANNEL_ID={pon}", "", 200, "Content-Type: text/plain", `{ "infos": [{"channel":"{pon}","subscribers":1}]}`},
	{[]int{3}, "GET", "/pub/?CHANNEL_ID={pa}" + strings.Repeat("/{pa}", 100), "", 200, "", `{ "infos": []}`},
	{[]int{3}, "GET", "/pub/?CHANNEL_ID=zz", "", 400, "-Access-Control-Allow-Origin", "Channel id is not correct."},
	{[]int{3}, "GET", "/pub/", "", 400, "", "No channel id provided."},
	{[]int{1}, "GET", "/pub/?CHANNEL_ID={pon}", "", 200, "Content-Type: application/json|" + nginxExpiry, `{"channel": "{pon}", "published_messages": 1, "stored_messages": 1, "subscribers": 2}` + "\r\n"},
	{[]int{1}, "GET", "/pub/?CHANNEL_ID={pon}/{pa}", "", 200, "", `{"channel": "{pon}", "published_messages": 1, "stored_messages": 1, "subscribers": 2}` + "\r\n"},
	{[]int{1}, "GET", "/pub/?CHANNEL_ID={pa}", "", 404, nginxExpiry, ""},

	// publishing
	{[]int{4}, "POST", "/pub/?CHANNEL_ID=zz", "x", 200, "Access-Control-Allow-Origin: *", ""},
	{[]int{4}, "POST", "/pub/", "x", 200, "", ""},
	{[]int{3}, "POST", "/pub/?CHANNEL_ID={pa}", "x", 200, "Content-Type: text/plain|-Access-Control-Allow-Origin", ""},
	{[]int{3}, "POST", "/pub/?CHANNEL_ID=zz", "x", 400, "", "Channel id is not correct."},
	{[]int{3}, "POST", "/pub/?CHANNEL_ID={pa}/zz", "x", 400, "", "Channel id is not correct."},
	{[]int{3}, "POST", "/pub/", "x", 400, "", "No channel id provided."},
	{[]int{3}, "POST", "/pub/?CHANNEL_ID={pa}", "", 400, "", "Empty post requests are not allowed."},
	{[]int{3}, "POST", "/pub/?CHANNEL_ID={pa}", strings.Repeat("a", 1_000_000), 200, "", ""},
	{[]int{3}, "POST", "/pub/?CHANNEL_ID={pa}", strings.Repeat("a", 1_000_001), 413, "", ""},
	{[]int{3}, "POST", "/pub/?CHANNEL_ID={pa}", strings.Repeat("ж", 1_000_000), 200, "", ""},
	{[]int{1}, "POST", "/pub/?CHANNEL_ID={pa}", "x", 200, "Content-Type: application/json|Cache-Control: no-cache, no-store, must-revalidate|" + nginxExpiry, `{"channel": "{pa}", "published_messages": 1, "stored_messages": 1, "subscribers": 0}` + "\r\n"},
	{[]int{1}, "PUT", "/pub/?CHANNEL_ID={pa}", "x", 200, "", `{"channel": "{pa}", "published_messages": 1, "stored_messages": 1, "subscribers": 0}` + "\r\n"},
	{[]int{1}, "POST", "/pub/", "x", 400, "X-Nginx-Pushstream-Explain: No channel id provided.", ""},
	{[]int{1}, "POST", "/pub/?CHANNEL_ID={pa}", "", 400, "X-Nginx-Pushstream-Explain: Empty post requests are not allowed.", ""},
	{[]int{1}, "DELETE", "/pub/?CHANNEL_ID={pa}", "", 405, "Allow: GET, POST, PUT", ""},
	{[]int{1}, "POST", "/pub/?CHANNEL_ID={pa}", strings.Repeat("a", 1<<20+1), 413, "Content-Type: text/html", "-"},
}

// TestGolden_Answers: requests and what real servers answered.
func TestGolden_Answers(t *testing.T) {
	t.Parallel()
	for _, tt := range answers {
		name := tt.method + " " + tt.path
		t.Run(name[:min(len(name), 60)], func(t *testing.T) {
			ofVersion(t, tt.versions, func(t *testing.T, p *pulltest.Portal) {
				if strings.Contains(tt.path, "on") {
					for range 2 {
						listenOn(t, p, "on")
					}
					rawPublish(t, p, md5hex("on"), `{}`)
				}
				status, header, body := request(t, p, tt.method, channelsOf(tt.path), tt.body)
				if status != tt.status || tt.want != "-" && body != channelsOf(tt.want) {
					t.Errorf("%d %.200q, a real server: %d %.200q", status, body, tt.status, channelsOf(tt.want))
				}
				for line := range strings.SplitSeq(tt.head, "|") {
					name, want, _ := strings.Cut(line, ": ")
					if got := header.Get(strings.TrimPrefix(name, "-")); tt.head != "" && got != want {
						t.Errorf("%s: %q, a real server: %q", name, got, want)
					}
				}
			}, pulltest.WithKey(labKey))
		})
	}
}

// listenOn connects a websocket to a channel by its name.
func listenOn(t *testing.T, p *pulltest.Portal, name string) {
	t.Helper()
	var server struct {
		Result struct {
			Server struct {
				Version   int    `json:"version"`
				WebSocket string `json:"websocket"`
			}
		}
	}
	if err := json.Unmarshal([]byte(`{"result":`+string(p.ConfigJSON())+`}`), &server); err != nil {
		t.Fatal(err)
	}
	id := map[int]string{1: md5hex(name), 3: md5hex(name) + "." + sign(md5hex(name)), 4: signedChannel(name)}[server.Result.Server.Version]
	ws, _, err := dialURL(p, "https"+server.Result.Server.WebSocket[len("wss"):]+"?binaryMode=true&CHANNEL_ID="+id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
}

// request sends a request; the status is hangs if nothing is answered in a second.
func request(t *testing.T, p *pulltest.Portal, method, path, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.PushURL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := *p.HTTPClient()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if ctx.Err() != nil {
		return hangs, nil, ""
	}
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(data)
}

// TestGolden_LongHead: more than 16 kB are not read.
func TestGolden_LongHead(t *testing.T) {
	ofVersion(t, []int{3, 4}, func(t *testing.T, p *pulltest.Portal) {
		status, header, body := request(t, p, "GET", "/foo", "", "X-Long", strings.Repeat("a", 20_000))
		if status != 431 || body != "" || header.Get("Content-Type") != "" {
			t.Errorf("%d %q %v", status, body, header)
		}
	})
}

// TestGolden_IdleConnections: those that nothing is asked on are closed after 6
// seconds.
func TestGolden_IdleConnections(t *testing.T) {
	ofVersion(t, []int{3, 4}, func(t *testing.T, p *pulltest.Portal) {
		for _, wait := range []time.Duration{5900 * time.Millisecond, 6100 * time.Millisecond} {
			tr, dialed := p.HTTPClient().Transport.(*http.Transport).Clone(), 0
			dial := tr.DialContext
			tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialed++
				return dial(ctx, network, addr)
			}
			for range 2 {
				resp, err := (&http.Client{Transport: tr}).Get(p.PushURL() + "/foo")
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				time.Sleep(wait)
			}
			if again := dialed == 2; again != (wait > 6*time.Second) {
				t.Errorf("a connection that was idle for %v: %d connections in all", wait, dialed)
			}
			tr.CloseIdleConnections()
		}
	})
}

// TestGolden_ServerStat: what a process tells of itself.
func TestGolden_ServerStat(t *testing.T) {
	const limits = `"limits":{"maxPayload":1048576,"maxConnPerChannel":100,"maxMessagesPerRequest":100,"maxChannelsPerRequest":100},"clusterMode":false,`
	for version, want := range map[int]string{
		3: `\[{"pid":\d+,"date":\d{12,13},"processUniqueId":"[^"]+","channels":1,"pollings":0,"websockets":1}\]`,
		4: `\[{"pid":\d+,"date":\d{12,13},"processUniqueId":"[^"]+","channels":1,` + limits + `"websockets":1,"pollings":0,"daily":{"requests":{"channelStats":1,"incomingMessages":1},"messages":{"im":1,"unknown":1}}}\]`,
	} {
		ofVersion(t, []int{version}, func(t *testing.T, p *pulltest.Portal) {
			listenOn(t, p, "on")
			if version == 4 {
				to := privateReceiver(unhex(t, md5hex("on")))
				trusted(t, p, publishRequest(incomingMessage(`{}`, 0, to), field(1, to, field(3, []byte(`{}`)), field(5, []byte("im")))))
				post(t, p, p.PushURL()+"/pub/?binaryMode=true", statsRequest(to))
			}
			status, header, body := request(t, p, "GET", "/server-stat/x", "")
			if status != 200 || header.Get("Content-Type") != "text/plain" || !regexp.MustCompile("^"+want+"$").MatchString(body) {
				t.Errorf("%d %v %s, want %s", status, header, body, want)
			}
		}, pulltest.WithKey(labKey))
	}
}

// TestGolden_ServerStatByProtobuf: they are field 3 of a Response.
func TestGolden_ServerStatByProtobuf(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		r := post(t, p, p.PushURL()+"/pub/?binaryMode=true", serverStatsRequest())
		if list := bytes.IndexByte(r.body, '['); list < 0 || !bytes.Equal(r.body, field(1, field(3, field(1, r.body[list:])))) {
			t.Errorf("%d %q", r.status, r.body)
		}
	})
}
