package b24pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/php"
)

// ListOption changes one List.
type ListOption func(*listing) error

// ByID has List read by the items' id, in place of by their number: each page
// is asked for with the order of field, a filter for what is above the last one
// read, and a start of -1, so that the portal counts nothing. That is the fast
// way through a long list, and nothing is left out or read twice where items
// come and go meanwhile. field is the id's name in filters, "ID" of most
// methods, "id" of crm.item.list and its like; the items have to have it, so a
// select must name it. It suits methods whose order is an object.
//
// params must have no order and no start then; a filter ">ID" of theirs is
// where the list begins.
func ByID(field string) ListOption {
	return func(l *listing) error {
		if l.id = field; field == "" || strings.ContainsAny(field, "<>=!%@~ ") {
			return errors.New("ByID: want the name of a field, like ID")
		}
		return nil
	}
}

// ItemsIn names the field of the result that holds the items. It is needed only
// where that is neither "items" nor "tasks" nor the only field there is.
func ItemsIn(name string) ListOption {
	return func(l *listing) error {
		if l.in = name; name == "" {
			return errors.New("ItemsIn: want the name of a field of the result, like items")
		}
		return nil
	}
}

// List calls a list method, like crm.deal.list, page after page, and yields its
// items, decoded by encoding/json. A page is asked for when its first item is
// wanted, so leaving the loop makes no further call. The last pair of a list
// that fails is an error, with the zero T; after it there is none.
//
// params are those of the method, as for Call; they are read when List is
// called and not changed. The list begins at their start, if there is one.
// Without ByID an item that is deleted while the list is read has another one
// be left out: the pages are by number.
//
// The result is a list, or an object with one in it: see ItemsIn. Lists of the
// newer REST (/rest/api/) have pages of another kind; there List is an error.
//
// Each page waits for the Limiter, and is repeated as reads are. Errors are
// those of Call; an answer that does not lead on, like one that ignores the
// filter of ByID, is an *APIError without a code.
func List[T any](ctx context.Context, c *Client, method string, params any, opts ...ListOption) iter.Seq2[T, error] {
	prepared, err := newListing(method, params, opts)
	return func(yield func(T, error) bool) {
		var none T
		if err != nil {
			yield(none, fmt.Errorf("b24pull: List: %w", err))
			return
		}
		l := *prepared
		for !l.done {
			p, err := l.next(ctx, c)
			if err != nil {
				yield(none, err)
				return
			}
			for _, raw := range p.items {
				var item T
				if err := json.Unmarshal(raw, &item); err != nil {
					yield(none, fmt.Errorf("b24pull: %s: an item: %w", method, p.redactor.Error(err)))
					return
				}
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

// A listing is how far a List has come.
type listing struct {
	method string
	params map[string]any
	filter map[string]json.RawMessage // with an id: the user's own conditions
	in     string                     // the field that holds the items; "": to be found
	id     string                     // "": by start

	names map[string]string // as params write start, filter and order
	at    int64             // the next start, or the last id
	empty int               // pages in a row
	done  bool
}

// maxEmptyPages is how many pages in a row may have no item while there is said
// to be a next one: a portal may leave out what a user must not see.
const maxEmptyPages = 100

func newListing(method string, params any, opts []ListOption) (*listing, error) {
	l := &listing{method: method, names: map[string]string{"start": "start", "filter": "filter", "order": "order"}}
	if err := checkMethod(method); err != nil {
		return nil, err
	}
	for _, option := range opts {
		if option == nil {
			return nil, errors.New("an option is nil")
		}
		if err := option(l); err != nil {
			return nil, err
		}
	}
	var err error
	if l.params, err = callParams(params); err != nil {
		return nil, fmt.Errorf("%s: the parameters: %w", method, err)
	}
	if l.params == nil {
		l.params = make(map[string]any)
	}
	if err := l.readParams(); err != nil {
		return nil, fmt.Errorf("%s: the parameters: %w", method, err)
	}
	return l, nil
}

// readParams finds where the list begins.
func (l *listing) readParams() error {
	given := make(map[string]json.RawMessage)
	for _, name := range slices.Sorted(maps.Keys(l.params)) {
		known := strings.ToLower(name)
		if l.names[known] == "" {
			continue
		}
		if given[known] != nil {
			return fmt.Errorf("%s is there twice, in two letter cases", known)
		}
		l.names[known] = name
		given[known], _ = l.params[name].(json.RawMessage)
	}
	if l.id == "" {
		return l.readStart(given["start"])
	}
	if order := given["order"]; !phpjson.Blank(order) && len(order) > 0 && string(order) != "{}" && string(order) != "[]" {
		return errors.New("order: leave it out, ByID sets it")
	}
	if len(given["start"]) > 0 {
		return errors.New("start: leave it out, ByID sets it")
	}
	return l.readFilter(given["filter"])
}

func (l *listing) readStart(given json.RawMessage) error {
	var start php.Int
	if len(given) > 0 && json.Unmarshal(given, &start) != nil || start < 0 {
		return errors.New("start: want a number from 0 on, or none; ByID is for what -1 is for")
	}
	l.at = int64(start)
	return nil
}

func (l *listing) readFilter(given json.RawMessage) error {
	var conditions php.Map[string, json.RawMessage]
	if len(given) > 0 && json.Unmarshal(given, &conditions) != nil {
		return errors.New("filter: want an object")
	}
	l.filter = conditions
	for name, value := range conditions {
		if !strings.EqualFold(name, ">"+l.id) {
			continue
		}
		var last php.Int
		if json.Unmarshal(value, &last) != nil {
			return fmt.Errorf("filter: of >%s: want a number", l.id)
		}
		l.at = max(l.at, int64(last))
		delete(l.filter, name)
	}
	return nil
}

// A listPage is what one call has brought.
type listPage struct {
	items    []json.RawMessage
	redactor redact.Redactor
}

// next asks for a page.
func (l *listing) next(ctx context.Context, c *Client) (listPage, error) {
	if c.newer() {
		return listPage{}, fmt.Errorf("b24pull: List: %s: the newer REST (/rest/api/) has lists of another kind: use Call, or the address without /api", l.method)
	}
	var p listPage
	err := c.call(ctx, request{l.method, l.pageParams(), true, func(a response) (err error) {
		p.redactor = a.redactor
		if p.items, err = itemsOf(a, l.in); err != nil {
			return err
		}
		if l.id == "" {
			return l.byStart(a, len(p.items))
		}
		return l.byID(a, p.items)
	}})
	return p, err
}

// newer reports whether the calls go to the newer REST.
func (c *Client) newer() bool {
	return c != nil && c.base != nil && strings.HasPrefix(c.base.now().Path, "/rest/api/")
}

func (l *listing) pageParams() map[string]any {
	params := maps.Clone(l.params)
	if l.id == "" {
		if l.at > 0 {
			params[l.names["start"]] = l.at
		}
		return params
	}
	filter := make(map[string]any, len(l.filter)+1)
	for name, value := range l.filter {
		filter[name] = value
	}
	filter[">"+l.id] = l.at
	params[l.names["filter"]] = filter
	params[l.names["order"]] = map[string]string{l.id: "ASC"}
	params[l.names["start"]] = -1
	return params
}

// byStart goes on at the answer's next.
func (l *listing) byStart(a response, items int) error {
	beside := a.beside()
	switch {
	case !beside.HasNext:
		l.done = true
		return nil
	case beside.Next <= l.at:
		if beside.Total > 0 && l.at+int64(items) >= beside.Total {
			l.done = true
			return nil
		}
		return a.fail(fmt.Sprintf("the list does not go on: the page at %d has %d as the next one", l.at, beside.Next))
	}
	if l.empty++; items > 0 {
		l.empty = 0
	}
	if l.empty >= maxEmptyPages {
		return a.fail(fmt.Sprintf("the list does not end: %d pages in a row without an item", l.empty))
	}
	l.at = beside.Next
	return nil
}

// byID goes on above the last item's id. The page that has no item is the last:
// a portal may leave out of any other what a user must not see.
func (l *listing) byID(a response, items []json.RawMessage) error {
	l.done = len(items) == 0
	for _, item := range items {
		id, ok := itemID(item, l.id)
		switch {
		case !ok:
			return a.fail(fmt.Sprintf("an item has no number as its %s; a select has to name that field", l.id))
		case id <= l.at:
			return a.fail(fmt.Sprintf("the list does not go on: %s %d stands behind %d; the method may not take this filter or order: list it without ByID", l.id, id, l.at))
		}
		l.at = id
	}
	return nil
}

// itemID reads an item's id, whatever letter case its name has: tasks have the
// id in another one than their filter.
func itemID(item json.RawMessage, field string) (int64, bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(item, &fields) != nil {
		return 0, false
	}
	raw, exact := fields[field]
	for name, value := range fields {
		if !exact && strings.EqualFold(name, field) {
			raw = value
		}
	}
	var id php.Int
	if (phpjson.Node{Raw: raw}).Empty() || json.Unmarshal(raw, &id) != nil {
		return 0, false
	}
	return int64(id), true
}

// itemsOf finds the items in a result: it is the list itself, or an object that
// holds it. Of a list with holes PHP makes an object by numbers.
func itemsOf(a response, in string) ([]json.RawMessage, error) {
	var list php.List[json.RawMessage]
	var object map[string]json.RawMessage
	raw := a.raw
	if phpjson.KindOf(raw) == phpjson.KindObject && json.Unmarshal(raw, &object) == nil && (in != "" || !numbered(object)) {
		if in = listField(object, in); in == "" {
			names := strings.Join(slices.Sorted(maps.Keys(object)), ", ")
			return nil, a.fail("want a list, or an object with one; the result's fields are " + a.redactor.Line(names, descriptionLimit) + ": name one by ItemsIn")
		}
		raw = object[in]
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, a.fail("want a list, or an object with one, got " + string(phpjson.KindOf(raw)))
	}
	return list, nil
}

// listField is the field that holds the items, "" if that is not to be told.
func listField(object map[string]json.RawMessage, in string) string {
	names := []string{in}
	if in == "" {
		names = []string{"items", "tasks"}
	}
	for _, name := range names {
		if object[name] != nil {
			return name
		}
	}
	if in == "" && len(object) == 1 {
		for name := range object {
			return name
		}
	}
	return ""
}

// numbered reports whether the keys of an object are those of a list.
func numbered(object map[string]json.RawMessage) bool {
	for name := range object {
		if strings.Trim(name, "0123456789") != "" {
			return false
		}
	}
	return true
}
