package transport

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// BenchmarkRead reads frames of 200 bytes over TLS, from a connection that the
// HTTP client has opened and from one that the library's own dialer has.
func BenchmarkRead(b *testing.B) {
	frame := make([]byte, 200)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for ws.WriteMessage(websocket.BinaryMessage, frame) == nil {
		}
	}))
	defer server.Close()
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig
	for name, dial := range map[string]DialFunc{
		"client": DialOver(OwnClient(server.Client())),
		"dialer": DialWith(&websocket.Dialer{TLSClientConfig: roots}),
	} {
		b.Run(name, func(b *testing.B) {
			ws, _, err := dial(b.Context(), strings.Replace(server.URL, "https:", "wss:", 1), nil)
			if err != nil {
				b.Fatal(err)
			}
			defer ws.Close()
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := ws.ReadMessage(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
