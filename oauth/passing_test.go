package oauth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
)

// TestPassing_StoredTokensAreRead: as earlier versions stored them, and whatever an
// editor or PHP has made of them.
func TestPassing_StoredTokensAreRead(t *testing.T) {
	const tokens = `"access_token":"a","refresh_token":"r"`
	for name, tt := range map[string]struct{ text, portal string }{
		"with its endpoint":       {`{` + tokens + `,"portal":"https://portal.example","client_endpoint":"https://portal.example/rest/","member_id":"m"}`, "https://portal.example"},
		"after a move":            {`{` + tokens + `,"portal":"https://new.example","client_endpoint":"https://portal.example/rest/","member_id":"m"}`, "https://new.example"},
		"with its endpoint alone": {`{` + tokens + `,"client_endpoint":"https://portal.example/rest/","member_id":"m"}`, "https://portal.example"},
		"over http":               {`{` + tokens + `,"client_endpoint":"http://portal.example/rest/","member_id":"m"}`, "https://portal.example"},
		"no address":              {`{` + tokens + `,"member_id":"m"}`, ""},
		"a byte order mark":       {"\ufeff{" + tokens + `,"portal":"https://portal.example","member_id":"m"}` + "\r\n", "https://portal.example"},
		"odd fields":              {`{` + tokens + `,"portal":"https://portal.example","member_id":"m","user_id":"x","expires":"soon","scope":{},"status":5}`, "https://portal.example"},
	} {
		folder := t.TempDir()
		store, err := NewTokenFolder(folder)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "m.json"), []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := store.Load(t.Context(), "m")
		if err != nil || got.AccessToken != "a" || got.RefreshToken != "r" || got.Portal != tt.portal || got.MemberID != "m" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestPassing_Refusal: authorization_error spends neither a refresh token nor a
// code, and is asked again, a bounded number of times and as long as the
// context lasts.
func TestPassing_Refusal(t *testing.T) {
	answer := map[string]any{"error": "authorization_error", "error_description": resttest.Mark}
	ways := map[string]func(context.Context, *Application) error{
		"refresh": func(ctx context.Context, app *Application) error {
			_, err := app.Refresh(ctx, (&rotating{}).start())
			return err
		},
		"exchange": func(ctx context.Context, app *Application) error {
			_, err := app.Exchange(ctx, AuthCode{Code: resttest.Mark + "-code"})
			return err
		},
		"form": func(ctx context.Context, app *Application) error {
			ts, err := NewTokens(app, new(MemoryStore))
			if err != nil {
				return err
			}
			return ts.Handle(ctx, mustParse(t, openForm()))
		},
	}
	for name, way := range ways {
		for failures := range 6 {
			synctest.Test(t, func(t *testing.T) {
				server := &rotating{}
				hc := server.refusing(401, answer, nil, failures)
				if failures == 0 {
					hc = server.transport(nil)
				}
				err := way(t.Context(), testApp(hc))
				asked, _ := server.counts()
				if failures < 4 && (err != nil || asked != failures+1) {
					t.Errorf("%s after %d refusals: %v, asked %d times", name, failures, err, asked)
				}
				if failures >= 4 && (!errors.Is(err, b24pull.ErrAuthorization) || b24pull.ClassOf(err) != b24pull.ClassUnavailable || asked != 4) {
					t.Errorf("%s after %d refusals: %v of class %v, asked %d times", name, failures, err, b24pull.ClassOf(err), asked)
				}
				if err != nil {
					resttest.CheckError(t, err)
				}
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		server := &rotating{}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := testApp(server.refusing(401, answer, nil, 0)).Refresh(ctx, server.start())
		if asked, _ := server.counts(); !errors.Is(err, b24pull.ErrAuthorization) || asked != 2 || strings.Contains(err.Error(), "may be lost") {
			t.Errorf("%v, asked %d times", err, asked)
		}
	})
}
