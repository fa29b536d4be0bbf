package oauth

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// chatty is a TLS server that goes on after its answer, with what it was asked
// and the secret of the call: at once, or when the answer has been read. ended
// tells that the client has closed a connection.
func chatty(t *testing.T, pause time.Duration, answer string) (srv *httptest.Server, ended chan struct{}) {
	ended = make(chan struct{}, 10)
	srv = resttest.Portal(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		more := fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Asked: %s %s\r\n\r\n", r.URL, body)
		if pause == 0 {
			io.WriteString(conn, answer+more)
		} else {
			io.WriteString(conn, answer)
			time.Sleep(pause)
			io.WriteString(conn, more)
		}
		readToEnd(conn)
		ended <- struct{}{}
	})
	return srv, ended
}

func readToEnd(conn net.Conn) { io.Copy(io.Discard, conn) }

func answered200(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// TestUnsolicited_NothingUnsolicitedIsLogged: net/http tells the process's log what a
// server sends behind an answer, over a connection that is kept for the next
// call. That can be the call's secret.
func TestUnsolicited_NothingUnsolicitedIsLogged(t *testing.T) {
	calls := map[string]struct {
		answer string
		call   func(t *testing.T, srv *httptest.Server) error
	}{
		"webhook": {answered200(`{"result":true}`), func(t *testing.T, srv *httptest.Server) error {
			_, err := webhookClient(t, srv).Call(context.Background(), "app.info", nil, nil)
			return err
		}},
		"webhook, no body": {"HTTP/1.1 204 No Content\r\n\r\n", func(t *testing.T, srv *httptest.Server) error {
			webhookClient(t, srv).Call(context.Background(), "app.info", nil, nil)
			return nil
		}},
		"webhook, chunked": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0f\r\n{\"result\":true}\r\n0\r\n\r\n", func(t *testing.T, srv *httptest.Server) error {
			_, err := webhookClient(t, srv).Call(context.Background(), "app.info", nil, nil)
			return err
		}},
		"OAuth": {answered200(`{"result":true}`), func(t *testing.T, srv *httptest.Server) error {
			_, err := oauthClient(t, srv, resttest.Static(resttest.AccessToken)).Call(context.Background(), "app.info", nil, nil)
			return err
		}},
		"authorization server": {answered200(`{"access_token":"new","refresh_token":"newer","expires_in":3600,"client_endpoint":"https://portal.example/rest/"}`),
			func(t *testing.T, srv *httptest.Server) error {
				app := &Application{ClientID: "app", ClientSecret: resttest.ClientSecret, AuthServer: srv.URL, HTTPClient: srv.Client()}
				_, err := app.Exchange(context.Background(), AuthCode{Code: resttest.Mark + "code"})
				return err
			}},
	}
	for name, c := range calls {
		for _, pause := range []time.Duration{0, 50 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s, %v later", name, pause), func(t *testing.T) {
				told := resttest.CaptureLog(t)
				srv, ended := chatty(t, pause, c.answer)
				if err := c.call(t, srv); err != nil {
					t.Fatal(err)
				}
				select {
				case <-ended:
				case <-time.After(10 * time.Second):
					t.Error("the connection is kept")
				}
				srv.Client().CloseIdleConnections()
				if text := told.String(); text != "" {
					t.Errorf("the process's log has been told %d bytes, a secret among them: %v", len(text), strings.Contains(text, resttest.Mark))
				}
			})
		}
	}
}
