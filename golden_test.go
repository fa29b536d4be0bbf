package b24pull

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// statuses are the HTTP statuses of the answers that do not come with 200.
var statuses = map[string]int{
	"error_expired_token":                 401,
	"error_query_limit":                   503,
	"error_server":                        500,
	"error_wrong_auth_type":               403,
	"error_number_constructed":            500,
	"error_object_constructed":            500,
	"error_unknown_code_constructed":      400,
	"event_add_command_error_constructed": 400,
	"answer_html_constructed":             502,
	"answer_result_500_constructed":       500,
	"oauth_error":                         402,
	"error_lower_case_constructed":        503,
	"error_long_description_constructed":  400,
	"error_code_sentence_constructed":     400,
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/rest/*.json")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := goldenText(t, name, data)
			golden := strings.TrimSuffix(file, ".json") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", golden, diff)
			}
		})
	}
}

// goldenText plays a recorded answer to the method it belongs to and writes
// down what came out.
func goldenText(t *testing.T, name string, data []byte) string {
	status, special := statuses[name]
	if !special {
		status = http.StatusOK
	}
	play := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		if bytes.HasPrefix(data, []byte("<")) {
			w.Header().Set("Content-Type", "text/html")
		}
		w.WriteHeader(status)
		w.Write(data)
	}
	ctx := context.Background()
	if strings.HasPrefix(name, "oauth_") {
		return goldenToken(t, play)
	}
	c := oauthClient(t, resttest.Portal(t, play), resttest.Static("s3cr3t-token"))
	if strings.HasPrefix(name, "event_add") {
		if err := c.AddApplicationEvent(ctx, ApplicationEvent{Command: "test"}); err != nil {
			return goldenError(err)
		}
		return "added\n"
	}
	cfg, err := c.GetApplicationConfig(ctx, true)
	if err != nil {
		return strings.ReplaceAll(goldenError(err), c.Portal(), "https://portal.example")
	}
	checkReload(t, cfg, data)
	return dump(cfg)
}

func goldenError(err error) string { return fmt.Sprintf("error: %v\n", err) }

// goldenToken plays an answer of the authorization server and writes down the
// token that a call then carries.
func goldenToken(t *testing.T, play http.HandlerFunc) string {
	authorization := resttest.Portal(t, play)
	var got sent
	rest := resttest.Portal(t, recorder(t, `{"result":true}`, &got))
	app := oauth2.Config{ClientID: "app.1", ClientSecret: "secret",
		Endpoint: oauth2.Endpoint{TokenURL: authorization.URL + "/oauth/token/", AuthStyle: oauth2.AuthStyleInParams}}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, authorization.Client())
	c := oauthClient(t, rest, app.TokenSource(ctx, &oauth2.Token{RefreshToken: "old"}))
	if err := c.AddApplicationEvent(context.Background(), ApplicationEvent{Command: "test"}); err != nil {
		return goldenError(err)
	}
	return fmt.Sprintf("auth: %v\n", got.Body["auth"])
}

// checkReload checks that Raw is the result as it came and loads again, as does
// the whole answer.
func checkReload(t *testing.T, cfg *Config, data []byte) {
	t.Helper()
	var answer struct{ Result json.RawMessage }
	if err := json.Unmarshal(data, &answer); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(cfg.Raw(), answer.Result) {
		t.Errorf("Raw is %s", cfg.Raw())
	}
	for _, saved := range [][]byte{cfg.Raw(), data} {
		var again Config
		if err := json.Unmarshal(saved, &again); err != nil || dump(&again) != dump(cfg) {
			t.Errorf("loaded again: %v, %s", err, dump(&again))
		}
	}
}

// dump writes all of a config, secrets included.
func dump(c *Config) string {
	var b strings.Builder
	s := c.Server
	fmt.Fprintf(&b, "server\n  version %d, enabled %t, mode %q, hostname %q\n", s.Version, s.Enabled, s.Mode, s.Hostname)
	fmt.Fprintf(&b, "  long polling %q, secure %q\n", s.LongPolling, s.LongPollingSecure)
	fmt.Fprintf(&b, "  websocket %t, %q, secure %q\n", s.WebSocketEnabled, s.WebSocket, s.WebSocketSecure)
	fmt.Fprintf(&b, "  publish %t, %q, secure %q\n", s.PublishEnabled, s.Publish, s.PublishSecure)
	fmt.Fprintf(&b, "  config timestamp %s\n", dumpTime(s.ConfigTimestamp))
	fmt.Fprintf(&b, "api web %d, mobile %d\n", c.API.RevisionWeb, c.API.RevisionMobile)
	dumpChannel(&b, "shared", c.Channels.Shared)
	dumpChannel(&b, "private", c.Channels.Private)
	fmt.Fprintf(&b, "client id %q\njwt %q\nexpires %s\n", c.ClientID, string(c.JWT), dumpTime(c.Expires))
	public, err := c.PublicChannels()
	if err != nil {
		fmt.Fprintf(&b, "public channels: error: %v\n", err)
	}
	for _, id := range slices.Sorted(maps.Keys(public)) {
		p := public[id]
		fmt.Fprintf(&b, "public channel of %d\n  user %d, id %q, signature %q\n  %s to %s\n",
			id, p.UserID, string(p.PublicID), string(p.Signature), dumpTime(p.Start), dumpTime(p.End))
	}
	fmt.Fprintf(&b, "server time %s\n", dumpTime(c.ServerTime))
	return b.String()
}

func dumpChannel(w io.Writer, name string, c *Channel) {
	if c == nil {
		fmt.Fprintf(w, "%s channel: none\n", name)
		return
	}
	fmt.Fprintf(w, "%s channel\n  id %q\n  public id %q\n  %s to %s, type %q\n",
		name, string(c.ID), string(c.PublicID), dumpTime(c.Start), dumpTime(c.End), c.Type)
}

func dumpTime(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.UTC().Format(time.RFC3339Nano)
}
