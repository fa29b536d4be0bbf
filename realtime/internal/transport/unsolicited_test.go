package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestUnsolicited_NothingUnsolicitedIsLogged: what a server sends behind an answer reaches
// no log. Here it repeats the address of the request, which holds the channel
// ids.
func TestUnsolicited_NothingUnsolicitedIsLogged(t *testing.T) {
	transports := map[string]func(*http.Client) Transport{
		"poll":      func(c *http.Client) Transport { return &Polling{Client: c} },
		"websocket": func(c *http.Client) Transport { return &Socket{Dial: DialOver(c)} },
	}
	for name, transport := range transports {
		for _, status := range []string{"200 OK\r\nContent-Length: 2\r\n\r\n{}", "304 Not Modified\r\n\r\n", "400 Bad Request\r\nContent-Length: 3\r\n\r\nbad"} {
			t.Run(name+" "+status[:3], func(t *testing.T) {
				var told bytes.Buffer // net/http logs before it closes the connection
				before := log.Writer()
				log.SetOutput(&told)
				defer log.SetOutput(before)
				srv, ended := goingOn(t, status)
				c, err := transport(OwnClient(srv.Client())).Open(context.Background(), Address{URL: strings.Replace(srv.URL, "http", scheme(name), 1) + "/sub/?CHANNEL_ID=s3cr3t"}, deaf{})
				if err == nil {
					if frame, err := c.Next(); err != nil {
						t.Error(err)
					} else if _, err := io.ReadAll(frame); err != nil {
						t.Error(err)
					}
				}
				select {
				case <-ended:
				case <-time.After(10 * time.Second):
					t.Error("the connection is kept")
				}
				if told.Len() > 0 {
					t.Errorf("the process's log has been told %d bytes, a channel id among them: %v", told.Len(), strings.Contains(told.String(), "s3cr3t"))
				}
			})
		}
	}
}

func scheme(transport string) string {
	if transport == "websocket" {
		return "ws"
	}
	return "http"
}

// goingOn is a server that sends more behind its answer, and tells when the
// client has closed the connection.
func goingOn(t *testing.T, answer string) (*httptest.Server, <-chan struct{}) {
	ended := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprintf(conn, "HTTP/1.1 %sHTTP/1.1 200 OK\r\nX-Asked: %s\r\n\r\n", answer, r.URL)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.Copy(io.Discard, conn)
		conn.Close()
		close(ended)
	}))
	t.Cleanup(srv.Close)
	return srv, ended
}

// TestUnsolicited_NothingEarlyIsLogged: nor does what a server sends before the request.
func TestUnsolicited_NothingEarlyIsLogged(t *testing.T) {
	for _, version := range resttest.TLSVersions {
		for name, answer := range map[string]string{"poll": "200 OK\r\nContent-Length: 2\r\n\r\n{}", "websocket": "400 Bad Request\r\nContent-Length: 3\r\n\r\nbad"} {
			t.Run(version.Name+" "+name, func(t *testing.T) {
				told := resttest.CaptureLog(t)
				server := resttest.Early(t, version.Number, "HTTP/1.1 "+answer)
				client := OwnClient(&http.Client{Transport: &http.Transport{TLSClientConfig: server.TLS}})
				var way Transport = &Polling{Client: client}
				at := Address{URL: "https://" + server.Address + "/sub/?CHANNEL_ID=s3cr3t"}
				if name == "websocket" {
					way, at.URL = &Socket{Dial: DialOver(client)}, strings.Replace(at.URL, "http", "ws", 1)
				}
				opened := resttest.Rounds(60)
				if resttest.Thorough {
					opened = 200
				}
				for range opened {
					c, err := way.Open(t.Context(), at, deaf{})
					var refused *StatusError
					switch {
					case err == nil:
						c.Close(CloseNormal)
					case name == "poll" || !errors.As(err, &refused):
						t.Fatal(err)
					}
				}
				if text := told.String(); text != "" {
					t.Errorf("the process's log has been told %d lines", strings.Count(text, "\n"))
				}
			})
		}
	}
}
