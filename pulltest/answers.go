package pulltest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// pageSize is how many items a list method answers at once.
const pageSize = 50

// List is a result for [Portal.Answer] that comes in pages, as that of a list
// method: 50 items from the parameter START on, with the total beside the
// result, and next, where to go on, while there are more. With a START of -1
// nothing is counted, and there is neither.
type List struct {
	Items []any
	Field string // of the result, that holds the items, as crm.item.list has it in "items"; empty: the result is the list itself
}

// page is a part of a list, with what is told beside it.
type page struct {
	result      any
	next, total int // below 0: not told
}

// tell calls f for what is told beside the result.
func (p page) tell(f func(name string, n int)) {
	if p.next >= 0 {
		f("next", p.next)
	}
	if p.total >= 0 {
		f("total", p.total)
	}
}

// canned are answers of methods that are given, by their names in lower case.
type canned struct {
	mu   sync.Mutex
	list map[string]any // json.RawMessage or List
}

// Answer gives a REST method an answer, alone and within a batch: one that the
// portal does not have, or in place of its own. The result is marshalled to
// JSON, a json.RawMessage stands as it is, and a [List] comes in pages. Whoever
// may call REST at all may call it, with whatever parameters. With nil the
// method is again as it was. It panics if the result cannot be marshalled.
func (p *Portal) Answer(method string, result any) {
	name := strings.ToLower(method)
	a := &p.answers
	if result == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.list, name)
		return
	}
	list, paged := result.(List)
	if paged {
		result = list.Items
	}
	data, err := json.Marshal(result)
	if err != nil {
		panic(fmt.Sprintf("pulltest: the answer of %q is no JSON: %v", method, err))
	}
	var answer any = json.RawMessage(data)
	if paged {
		list.Items = slices.Clone(list.Items)
		answer = list
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.list == nil {
		a.list = make(map[string]any)
	}
	a.list[name] = answer
}

func (a *canned) names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Keys(a.list))
}

func (a *canned) method(name string) (method, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer, given := a.list[name]
	return method{scopeBase, func(_ *Portal, call restCall) (any, *restError) {
		if list, paged := answer.(List); paged {
			return list.page(call.params["START"]), nil
		}
		return answer, nil
	}}, given
}

func (l List) page(from any) page {
	start, _ := integer(from)
	p := page{next: -1, total: len(l.Items)}
	if start < 0 {
		start, p.total = 0, -1
	}
	first := min(start, len(l.Items))
	last := min(first+pageSize, len(l.Items))
	if p.total > last {
		p.next = last
	}
	items := append([]any{}, l.Items[first:last]...)
	p.result = items
	if l.Field != "" {
		p.result = map[string]any{l.Field: items}
	}
	return p
}
