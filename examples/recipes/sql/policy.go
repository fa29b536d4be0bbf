package main

import (
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/b24pull/b24pull/realtime"
)

// errTaken ends a process that is not the only one.
var errTaken = errors.New("another process has stored a position: only one may run")

// again is for a database that is away for a while, however long: after a
// second, two, four and so on up to a minute.
var again = realtime.RetryPolicy(1<<30, time.Second, time.Minute, realtime.StopRun())

// policy says what becomes of a payment that was not stored. What will never be
// stored is skipped, or nothing that comes after it would be; it is in the log,
// and [realtime.WithDeadLetters] could keep it.
func policy(err *realtime.HandlerError, attempt int) realtime.ErrorAction {
	var params *realtime.ParamsError
	switch {
	case errors.Is(err, errTaken):
		return realtime.StopRun()
	case errors.As(err, &params), refused(err):
		return realtime.SkipMessage()
	default:
		return again(err, attempt)
	}
}

// tellGap tells of each gap. The message that bears one may be no payment.
func tellGap(e realtime.Event) {
	if gap, is := e.(realtime.Gap); is {
		slog.Error("payments may be missing: compare with the books", "gap", gap.Reason)
	}
}

// refused reports whether PostgreSQL cannot store such data at all, such as a
// text with a NUL in it: a data exception (class 22) or a violated constraint
// (class 23).
func refused(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && len(pg.Code) == 5 && (pg.Code[:2] == "22" || pg.Code[:2] == "23")
}
