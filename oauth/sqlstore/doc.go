// Package sqlstore keeps an application's tokens and the cursors of its
// subscriptions in a database that other things are in as well: PostgreSQL or
// SQLite, by database/sql and whatever driver the program has.
//
//	db, err := sql.Open("pgx", "postgres://…")
//	store, err := sqlstore.Open(db, sqlstore.PostgreSQL)
//	err = store.CreateTables(ctx)
//	tokens, err := oauth.NewTokens(app, store.Tokens())
//	sub, err := realtime.Subscribe(client, realtime.WithCursorStore(store.Cursors(memberID)))
//
// It is a module of its own and brings no driver. It was tested with
// github.com/jackc/pgx/v5/stdlib and modernc.org/sqlite.
//
// # Locks
//
// A token is refreshed under a lock, by one process at a time. The lock is a
// row with the mark of who holds it and the time until which he does, by the
// clock of the database: a lease, prolonged three times in its length
// ([WithLease]) for as long as it is held. No connection belongs to it. So
// however many portals are refreshed and installed at once, and whoever waits
// for whom, each statement takes a connection of the pool and gives it back;
// a pool of one is enough. PostgreSQL's advisory locks, which belong to a
// connection, are not used, and a pooler like PgBouncer may be in between, in
// whatever mode.
//
// A connection that dies, also while a token is refreshed, takes nothing with
// it: what was asked is asked again on another one, and all statements are such
// that they can be. A database that is away, as it is while it starts again, is
// asked until a statement's time ([WithTimeout]) is over. Is it away for longer,
// the new token is kept in memory and stored by the next refresh, as
// oauth.StoreError tells.
//
// A process that dies while it holds a lock holds it until the lease ends;
// those who refresh the same portal's token wait for that long. A process that
// is stopped for longer than the lease, or cannot reach the database for so
// long while others can, has lost the lock to whoever wants it: every save and
// delete looks in the same statement whether the row still has its mark, and
// is oauth.ErrLockLost if not. What another process has stored meanwhile is
// never overwritten. oauth.Tokens then locks the key again and takes the
// other's token, or stores its own if there is none. A clock that is set forward
// ends leases early, with the same outcome; one that is set back by more than
// four minutes ends those that nobody prolongs.
//
// # Durability
//
// A token that a crash takes away is lost with its portal, until a user opens
// the application again: leave synchronous_commit on in PostgreSQL, and in
// SQLite synchronous at FULL. In SQLite set journal_mode WAL in the address of
// the database, and a busy_timeout of a tenth of a second: the store itself asks
// a busy database again, until its time or the context is over, and a driver
// that waits is not interrupted. A database in memory wants
// db.SetMaxOpenConns(1), since each connection has another one.
//
// Tokens are secrets and stand in the table as they are: who can read it can
// call the portals. No error has one in it.
package sqlstore
