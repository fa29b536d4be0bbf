package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/b24pull/b24pull/realtime"
)

// cursors is a Store as the realtime.CursorStore of one subscription. The row
// counts its saves: if there are more than one's own, another has saved.
type cursors struct {
	store *Store
	key   string

	known bool  // how often the row has been saved:
	saves int64 // 0 if there is none
}

// Load reads the cursor.
func (c *cursors) Load(ctx context.Context) (realtime.Cursor, error) {
	name, err := column(c.key)
	if err != nil {
		return realtime.Cursor{}, err
	}
	text, err := c.look(ctx, name)
	if err != nil {
		return realtime.Cursor{}, err
	}
	var at realtime.Cursor
	if err := at.UnmarshalText([]byte(text)); err != nil {
		return realtime.Cursor{}, fmt.Errorf("sqlstore: load the cursor %q: %w; restore its row, or delete it to start without a cursor", c.key, err)
	}
	return at, nil
}

// look reads the row.
func (c *cursors) look(ctx context.Context, name string) (text string, err error) {
	c.known = false
	saves := int64(0)
	err = c.store.do(ctx, "load the cursor", func(ctx context.Context) error {
		err := c.store.db.QueryRowContext(ctx, c.store.text.position(), name).Scan(&text, &saves)
		if errors.Is(err, sql.ErrNoRows) {
			text, saves = "", 0
			return nil
		}
		return err
	})
	c.known, c.saves = err == nil, saves
	return text, err
}

// Save writes the cursor.
func (c *cursors) Save(ctx context.Context, at realtime.Cursor) error {
	name, err := column(c.key)
	if err != nil {
		return err
	}
	text, err := at.MarshalText()
	if err != nil {
		return fmt.Errorf("sqlstore: save the cursor: %w", err)
	}
	if !c.known {
		if _, err := c.look(ctx, name); err != nil {
			return err
		}
	}
	changed, saves := int64(0), c.saves
	c.known = false
	err = c.store.do(ctx, "save the cursor", func(ctx context.Context) (err error) {
		if saves == 0 {
			changed, err = count(c.store.db.ExecContext(ctx, c.store.text.begin(), name, string(text)))
		} else {
			changed, err = count(c.store.db.ExecContext(ctx, c.store.text.goOn(), string(text), name, saves))
		}
		return err
	})
	if err != nil {
		return err
	}
	if changed > 0 {
		c.known, c.saves = true, saves+1
		return nil
	}
	// Another has saved, or one's own answer was lost and it was asked again.
	there, err := c.look(ctx, name)
	if err == nil && there != string(text) {
		c.known = false
		err = fmt.Errorf("sqlstore: save the cursor %q: %w", c.key, errTaken)
	}
	return err
}
