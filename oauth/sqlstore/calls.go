package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
)

const (
	// attempts is how often what fails is asked where nobody can tell whether
	// that helps.
	attempts = 3
	// again is how long it waits before the second time, and longer after that.
	again = 20 * time.Millisecond
	// longest is the longest wait.
	longest = 500 * time.Millisecond
)

// errTaken is for what is not to be asked again, since the answer is no.
var errTaken = errors.New("another subscription has saved under the same key; only one may use it")

// do asks the database, and again if that fails: until the time for it is over
// where the failure passes, and else twice. ask must be such that it can be done
// again when it has been done already. what it is about is told in the error,
// and no secret of those is.
func (s *Store) do(ctx context.Context, what string, ask func(context.Context) error, secrets ...string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	wait := again
	for n := 1; ; n++ {
		err := ask(ctx)
		if err == nil || answered(err) {
			return err
		}
		if ctx.Err() != nil || n >= attempts && !passes(err) || !sleep(ctx, wait) {
			return s.told(ctx, what, err, secrets)
		}
		wait = min(2*wait, longest)
	}
}

// answered reports whether the database did answer.
func answered(err error) bool {
	return errors.Is(err, b24pull.ErrNoToken) || errors.Is(err, oauth.ErrLockLost) || errors.Is(err, errTaken)
}

// passes reports whether the database has failed for the moment: it cannot be
// reached, the connection has died, it starts or stops, has no connection left,
// or is busy with another.
func passes(err error) bool {
	var state interface{ SQLState() string } // of PostgreSQL's drivers
	if errors.As(err, &state) {
		code := state.SQLState()
		return slices.ContainsFunc([]string{"08", "40", "53", "57P", "55P03"}, func(class string) bool { return strings.HasPrefix(code, class) })
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || busy(err)
}

// busy reports whether SQLite says that another has the database. The drivers
// have no error for that in common but the text.
func busy(err error) bool {
	text := err.Error()
	return strings.Contains(text, "database is locked") || strings.Contains(text, "database table is locked") || strings.Contains(text, "SQLITE_BUSY")
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// told is an error of the database as it is passed on.
func (s *Store) told(ctx context.Context, what string, err error, secrets []string) error {
	advice := ""
	if stats := s.db.Stats(); ctx.Err() != nil && stats.MaxOpenConnections > 0 && stats.InUse >= stats.MaxOpenConnections {
		advice = fmt.Sprintf("; all %d connections of the pool were in use: SetMaxOpenConns allows more", stats.InUse)
	}
	if text := err.Error(); strings.Contains(text, "no such table") || strings.Contains(text, "42P01") {
		advice = "; make the tables with CreateTables, or name them by WithPrefix"
	}
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		cause = err
	} else {
		advice = fmt.Sprintf(": %v%s", err, advice)
	}
	if len(secrets) > 0 {
		cause, advice = without(cause, secrets), hide(advice, secrets)
	}
	return fmt.Errorf("sqlstore: %s: %w%s", what, cause, advice)
}

// without is an error with none of the secrets. Errors of databases may show
// them in what errors.As gets, like the row that was refused; so nothing is left
// of them but the text, and which of the common errors they are.
func without(err error, secrets []string) error {
	kept := &quiet{text: hide(err.Error(), secrets)}
	for _, common := range []error{context.Canceled, context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone} {
		if errors.Is(err, common) {
			kept.is = common
		}
	}
	return kept
}

func hide(text string, secrets []string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return text
}

type quiet struct {
	text string
	is   error
}

func (e *quiet) Error() string { return e.text }
func (e *quiet) Unwrap() error { return e.is }

// count is how many rows a statement has changed.
func count(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
