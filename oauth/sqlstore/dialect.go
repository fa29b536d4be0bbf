package sqlstore

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// A Dialect is the SQL that a database understands.
type Dialect int

// The dialects. SQLite is to be of version 3.35 or later, PostgreSQL is tested
// with 15 and uses nothing newer than 9.5.
const (
	PostgreSQL Dialect = iota + 1
	SQLite
)

// String is the name of the database.
func (d Dialect) String() string {
	switch d {
	case PostgreSQL:
		return "PostgreSQL"
	case SQLite:
		return "SQLite"
	}
	return "Dialect(" + strconv.Itoa(int(d)) + ")"
}

// statements are the texts of what is asked. A ? stands for a value.
type statements struct {
	dialect Dialect
	prefix  string
}

// sql puts the names of the tables into a text, and what the dialects say
// differently: {now} is the database's time in milliseconds, {last} the end of
// the longest lease that there can be, {hold} keeps the rows that are read until
// the statement is done.
func (s statements) sql(text string) string {
	now, hold, text0 := "(extract(epoch from clock_timestamp()) * 1000)::bigint", " FOR UPDATE", ` COLLATE "C"`
	if s.dialect == SQLite {
		now, hold, text0 = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)", "", ""
	}
	text = strings.NewReplacer("{tokens}", s.prefix+"tokens", "{cursors}", s.prefix+"cursors", "{locks}", s.prefix+"locks",
		"{last}", fmt.Sprint(now, " + ", 2*maxLease.Milliseconds()), "{now}", now, "{hold}", hold, "{bytes}", text0).Replace(text)
	if s.dialect == SQLite {
		return text
	}
	var b strings.Builder
	n := 0
	for _, c := range text {
		if c == '?' {
			n++
			fmt.Fprint(&b, "$", n)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

func (s statements) schema() []string {
	return []string{
		s.sql("CREATE TABLE IF NOT EXISTS {tokens} (name TEXT{bytes} PRIMARY KEY, token TEXT NOT NULL)"),
		s.sql("CREATE TABLE IF NOT EXISTS {locks} (name TEXT{bytes} PRIMARY KEY, holder TEXT NOT NULL, held_until BIGINT NOT NULL, wanted BIGINT NOT NULL)"),
		s.sql("CREATE TABLE IF NOT EXISTS {cursors} (name TEXT{bytes} PRIMARY KEY, position TEXT NOT NULL, saves BIGINT NOT NULL)"),
	}
}

func (s statements) keys() string { return s.sql("SELECT name FROM {tokens}") }

func (s statements) load() string { return s.sql("SELECT token FROM {tokens} WHERE name = ?") }

// take wants name, holder, lease, and changes a row if the lock is free, or the
// holder's already. A lease that ends later than any can was taken before the
// clock was set back, and its holder has not prolonged it since.
func (s statements) take() string {
	return s.sql(`INSERT INTO {locks} AS l (name, holder, held_until, wanted) VALUES (?, ?, {now} + CAST(? AS BIGINT), 0)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until, wanted = 0
		WHERE l.held_until NOT BETWEEN {now} AND {last} OR l.holder = excluded.holder`)
}

// held wants name, and returns a row if the lock is not free: whether its
// holder has been told that somebody waits.
func (s statements) held() string {
	return s.sql("SELECT wanted FROM {locks} WHERE name = ? AND held_until BETWEEN {now} AND {last}")
}

// want wants name, and tells the holder.
func (s statements) want() string { return s.sql("UPDATE {locks} SET wanted = 1 WHERE name = ?") }

// prolong wants lease, name, holder.
func (s statements) prolong() string {
	return s.sql("UPDATE {locks} SET held_until = {now} + CAST(? AS BIGINT) WHERE name = ? AND holder = ?")
}

// release wants name, holder, and returns a row if he held the lock: whether
// somebody waits.
func (s statements) release() string {
	return s.sql("DELETE FROM {locks} WHERE name = ? AND holder = ? RETURNING wanted")
}

// loadHeld wants name, holder, and returns a row if he still holds the lock.
func (s statements) loadHeld() string {
	return s.sql("SELECT t.token FROM {locks} l LEFT JOIN {tokens} t ON t.name = l.name WHERE l.name = ? AND l.holder = ?")
}

// saveHeld wants token, name, holder, and changes a row if he still holds the
// lock. Nobody takes it before the row is there.
func (s statements) saveHeld() string {
	return s.sql(`INSERT INTO {tokens} (name, token) SELECT name, CAST(? AS TEXT) FROM {locks} WHERE name = ? AND holder = ?{hold}
		ON CONFLICT (name) DO UPDATE SET token = excluded.token`)
}

// removeHeld wants name, holder.
func (s statements) removeHeld() string {
	return s.sql(`WITH held AS (SELECT name FROM {locks} WHERE name = ? AND holder = ?{hold})
		DELETE FROM {tokens} WHERE name IN (SELECT name FROM held)`)
}

func (s statements) position() string {
	return s.sql("SELECT position, saves FROM {cursors} WHERE name = ?")
}

// begin wants name, position, and changes a row if there is none.
func (s statements) begin() string {
	return s.sql("INSERT INTO {cursors} (name, position, saves) VALUES (?, ?, 1) ON CONFLICT (name) DO NOTHING")
}

// goOn wants position, name, saves, and changes the row if it has been saved so
// often.
func (s statements) goOn() string {
	return s.sql("UPDATE {cursors} SET position = ?, saves = saves + 1 WHERE name = ? AND saves = ?")
}

// column is a key as it stands in a table: bytes that are not printable ASCII,
// which not every database takes as a text, and % are written as in an address.
func column(key string) (string, error) {
	if key == "" {
		return "", errors.New("sqlstore: the key is empty")
	}
	if len(key) > maxKey {
		return "", fmt.Errorf("sqlstore: the key has %d bytes; %d are the most", len(key), maxKey)
	}
	var b strings.Builder
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// unescape is the key of a column.
func unescape(name string) string {
	if key, err := url.PathUnescape(name); err == nil {
		return key
	}
	return name // not one of ours
}
