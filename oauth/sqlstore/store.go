package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/realtime"
)

const (
	defaultPrefix  = "b24pull_"
	defaultLease   = 30 * time.Second
	defaultTimeout = 10 * time.Second
	// A lease is not longer than oauth.Tokens waits for a lock, nor shorter
	// than a statement may well take.
	minLease = time.Second
	maxLease = 2 * time.Minute
	// maxKey is the longest key, in bytes.
	maxKey = 255
	// maxPrefix leaves room for the names of tables, of which PostgreSQL takes
	// 63 bytes.
	maxPrefix = 48
)

// A Store keeps tokens and cursors in the tables of a database. It is safe for
// concurrent use, and so are several of them, in one process or in many.
type Store struct {
	db      *sql.DB
	dialect Dialect
	text    statements
	lease   time.Duration
	timeout time.Duration

	turns turns
}

var goodPrefix = regexp.MustCompile(`^([a-z_][a-z0-9_]*\.)?[a-z_][a-z0-9_]*$`)

// An Option changes how a Store does its work.
type Option func(*Store) error

// WithPrefix has the tables be called prefix + tokens, cursors and locks, in
// place of b24pull_tokens and so on. It is of lower case letters, digits and _,
// and may begin with a schema and a dot: "crm.b24pull_". Each application that
// uses the database wants tables of its own: portals have the same member_id in
// all of them.
func WithPrefix(prefix string) Option {
	return func(s *Store) error {
		if len(prefix) > maxPrefix || !goodPrefix.MatchString(prefix) {
			return fmt.Errorf("the prefix %.60q of the tables is to be of at most %d lower case letters, digits and _, with a schema and a dot before them if need be", prefix, maxPrefix)
		}
		s.text.prefix = prefix
		return nil
	}
}

// WithLease sets for how long a process that has died holds a lock, and one
// that is alive without reaching the database: 30 seconds, from a second to two
// minutes. A long one has others wait after a crash, a short one has a process
// lose its locks that is stopped for a moment.
func WithLease(d time.Duration) Option {
	return func(s *Store) error {
		if d < minLease || d > maxLease {
			return fmt.Errorf("a lease of %v; it is to be from %v to %v", d, minLease, maxLease)
		}
		s.lease = d
		return nil
	}
}

// WithTimeout sets how long each call of the database may take, with the
// waiting for a connection of the pool and the second try: 10 seconds. A
// context that ends before that ends it as well. Waiting for a lock is many
// short calls.
func WithTimeout(d time.Duration) Option {
	return func(s *Store) error {
		if d <= 0 {
			return fmt.Errorf("a timeout of %v; it is to be more than none", d)
		}
		s.timeout = d
		return nil
	}
}

// Open returns a store in a database, which stays the caller's to close. It
// does no I/O. The tables have to be there: see CreateTables and Schema.
func Open(db *sql.DB, dialect Dialect, opts ...Option) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqlstore: Open: the database is nil")
	}
	if dialect != PostgreSQL && dialect != SQLite {
		return nil, fmt.Errorf("sqlstore: Open: %v is no dialect; give PostgreSQL or SQLite", dialect)
	}
	s := &Store{db: db, dialect: dialect, lease: defaultLease, timeout: defaultTimeout}
	s.text = statements{dialect, defaultPrefix}
	for _, opt := range opts {
		if err := opt(s); err != nil {
			return nil, fmt.Errorf("sqlstore: Open: %w", err)
		}
	}
	return s, nil
}

// Tokens returns the store of the tokens. A key has 255 bytes at the most.
func (s *Store) Tokens() oauth.TokenStore { return tokens{s} }

// Cursors returns the store of the cursor of one subscription, for which key
// stands: of 1 to 255 bytes, like the portal's MemberID. What is wrong with it
// is an error of Load and Save, which end a run before its first message. One
// subscription uses a key at a time: if another has saved under it a Save fails
// once and says so. The row counts the saves for that, and so it stays, with an
// empty position, when the zero Cursor is saved, as of a portal that has
// uninstalled the application. Rows with an empty position can be deleted
// while no subscription uses their keys.
func (s *Store) Cursors(key string) realtime.CursorStore { return &cursors{store: s, key: key} }

// Keys returns the keys that have a token, in no order: a program that starts
// again goes on with them.
func (s *Store) Keys(ctx context.Context) (keys []string, err error) {
	err = s.do(ctx, "the keys", func(ctx context.Context) error {
		keys = nil
		rows, err := s.db.QueryContext(ctx, s.text.keys())
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			keys = append(keys, unescape(name))
		}
		return rows.Err()
	})
	return keys, err
}

// Schema returns the statements that make the tables, for a program that has
// its migrations elsewhere.
func (s *Store) Schema() []string { return s.text.schema() }

// CreateTables makes those of the tables that are not there. Several processes
// may do it at once: of two that make the same table in PostgreSQL one fails,
// although both say IF NOT EXISTS, and finds it there when it tries again.
func (s *Store) CreateTables(ctx context.Context) error {
	return s.do(ctx, "the tables", func(ctx context.Context) error {
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		for _, statement := range s.Schema() {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return tx.Commit()
	})
}
