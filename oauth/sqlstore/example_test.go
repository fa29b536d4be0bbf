package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/oauth/sqlstore"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
	_ "modernc.org/sqlite"
)

// An application keeps its tokens and the position of a subscription in SQLite.
// What is different with PostgreSQL is the first line of open:
//
//	db, err := sql.Open("pgx", "postgres://user@host/database")
//	store, err := sqlstore.Open(db, sqlstore.PostgreSQL)
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	portal := pulltest.NewPortal() // in place of a real one
	defer portal.Close()

	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(folder, "app.db"))+
		"?_pragma=busy_timeout(100)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	store, err := sqlstore.Open(db, sqlstore.SQLite)
	if err == nil {
		err = store.CreateTables(ctx)
	}
	if err != nil {
		fmt.Println(err)
		return
	}

	app := &oauth.Application{ClientID: portal.Application().ClientID, ClientSecret: b24pull.Secret(portal.Application().ClientSecret),
		AuthServer: portal.AuthServer(), HTTPClient: portal.HTTPClient()}
	tokens, err := oauth.NewTokens(app, store.Tokens())
	if err == nil {
		err = installed(ctx, tokens, portal)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := b24pull.New(b24pull.OAuth(portal.URL(), tokens.Source(portal.MemberID())), b24pull.WithHTTPClient(portal.HTTPClient()))
	if err != nil {
		fmt.Println(err)
		return
	}
	say := func(text string) {
		portal.Emit(pulltest.Message{Command: "said", Params: map[string]any{"text": text}})
	}
	listen := func(say func()) {
		sub, err := realtime.Subscribe(client, realtime.WithCursorStore(store.Cursors(portal.MemberID())))
		if err != nil {
			fmt.Println(err)
			return
		}
		go func() {
			<-sub.Ready()
			say()
		}()
		for msg, err := range sub.Messages(ctx) {
			fmt.Println(string(msg.Params), err)
			sub.Drain(ctx) // this one is enough: the loop ends, and it is saved as handled
		}
	}
	listen(func() { say("one") })
	say("two") // nobody listens
	listen(func() {})
	keys, err := store.Keys(ctx)
	fmt.Println(len(keys), "portal in the database,", err)
	// Output:
	// {"text":"one"} <nil>
	// {"text":"two"} <nil>
	// 1 portal in the database, <nil>
}

// installed has the portal install the application.
func installed(ctx context.Context, tokens *oauth.Tokens, portal *pulltest.Portal) error {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := oauth.ParseCallback(r)
		if err == nil {
			err = tokens.Handle(r.Context(), c)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	}))
	defer server.Close()
	return portal.Install(ctx, server.URL)
}
