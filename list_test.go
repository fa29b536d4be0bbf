package b24pull

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/php"
	"github.com/b24pull/b24pull/pulltest"
)

// scripted is a client whose calls are answered one after another, the last
// answer for ever. asked are their bodies without the token.
func scripted(t *testing.T, answers ...string) (c *Client, asked *[]string) {
	asked = new([]string)
	return mustNew(t, OAuth("portal.example", resttest.Static("s3cr3t-token")), WithLimiter(nil), WithHTTPClient(&http.Client{
		Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			for _, auth := range []string{`"auth":"s3cr3t-token",`, `,"auth":"s3cr3t-token"`, `"auth":"s3cr3t-token"`} {
				body = bytes.Replace(body, []byte(auth), nil, 1)
			}
			*asked = append(*asked, string(body))
			n := min(len(*asked), len(answers)) - 1
			return resttest.JSONResponse(r, 200, answers[n]), nil
		})})), asked
}

type listed struct {
	ID php.Int `json:"ID"`
}

// collect reads a list to its end.
func collect(c *Client, params any, opts ...ListOption) (ids []int, err error) {
	for item, failed := range List[listed](context.Background(), c, "crm.deal.list", params, opts...) {
		if failed != nil {
			if err != nil || item != (listed{}) {
				return ids, errors.New("an error is not the last pair, or has an item")
			}
			err = failed
			continue
		}
		if err != nil {
			return ids, errors.New("an item comes behind an error")
		}
		ids = append(ids, int(item.ID))
	}
	return ids, err
}

// TestList_ByStart: the pages there are, whatever form the result has, and no
// call more.
func TestList_ByStart(t *testing.T) {
	for _, tt := range []struct {
		name    string
		params  any
		opts    []ListOption
		answers []string
		ids     []int
		asked   []string
	}{
		{"one page", nil, nil, []string{`{"result":[{"ID":"3"},{"ID":1}],"total":2}`}, []int{3, 1}, []string{`{}`}},
		{"nothing", nil, nil, []string{`{"result":[],"total":0}`}, nil, []string{`{}`}},
		{"PHP's false", nil, nil, []string{`{"result":false}`}, nil, []string{`{}`}},
		{"null", nil, nil, []string{`{"result":null}`}, nil, []string{`{}`}},
		{"pages", map[string]any{"select": []string{"ID"}}, nil,
			[]string{`{"result":[{"ID":1}],"next":50,"total":101}`, `{"result":[],"next":"100","total":101}`, `{"result":[{"ID":2}],"total":101}`},
			[]int{1, 2}, []string{`{"select":["ID"]}`, `{"select":["ID"],"start":50}`, `{"select":["ID"],"start":100}`}},
		{"from a start on", map[string]any{"START": "50"}, nil, []string{`{"result":[{"ID":1}],"next":100}`, `{"result":[{"ID":2}]}`},
			[]int{1, 2}, []string{`{"START":50}`, `{"START":100}`}},
		{"items", nil, nil, []string{`{"result":{"items":[{"ID":1}],"more":1}}`}, []int{1}, []string{`{}`}},
		{"tasks with holes", nil, nil, []string{`{"result":{"tasks":{"7":{"ID":7},"2":{"ID":2}}}}`}, []int{7, 2}, []string{`{}`}},
		{"the only field", nil, nil, []string{`{"result":{"workgroups":[{"ID":1}]}}`}, []int{1}, []string{`{}`}},
		{"no item in items", nil, nil, []string{`{"result":{"items":[]}}`}, nil, []string{`{}`}},
		{"a named field", nil, []ListOption{ItemsIn("b")}, []string{`{"result":{"items":[{"ID":1}],"b":[{"ID":2}]}}`}, []int{2}, []string{`{}`}},
		{"a named field of PHP's empty array", nil, []ListOption{ItemsIn("b")}, []string{`{"result":[]}`}, nil, []string{`{}`}},
		{"a list with holes", nil, nil, []string{`{"result":{"5":{"ID":5},"3":{"ID":3}}}`}, []int{5, 3}, []string{`{}`}},
		{"an end that says next 0", nil, nil, []string{`{"result":[{"ID":1}],"total":1,"next":0}`}, []int{1}, []string{`{}`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, asked := scripted(t, tt.answers...)
			ids, err := collect(c, tt.params, tt.opts...)
			if err != nil || !slices.Equal(ids, tt.ids) {
				t.Errorf("got %v, %v", ids, err)
			}
			if diff := cmp.Diff(tt.asked, *asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// TestList_ByID: by the filter, above what was read, until a page is empty.
func TestList_ByID(t *testing.T) {
	filter := map[string]any{">id": 5, "STAGE": "NEW"}
	params := map[string]any{"FILTER": filter, "select": []string{"ID"}}
	before, _ := json.Marshal(params)
	c, asked := scripted(t, `{"result":[{"id":"6"},{"id":"9"}]}`, `{"result":[{"ID":10}]}`, `{"result":[]}`)
	ids := []int{}
	for item, err := range List[map[string]php.Int](context.Background(), c, "crm.deal.list", params, ByID("ID")) {
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range item {
			ids = append(ids, int(id))
		}
	}
	want := []string{}
	for _, last := range []int{5, 9, 10} {
		want = append(want, fmt.Sprintf(`{"FILTER":{"\u003eID":%d,"STAGE":"NEW"},"order":{"ID":"ASC"},"select":["ID"],"start":-1}`, last))
	}
	if diff := cmp.Diff(want, *asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if !slices.Equal(ids, []int{6, 9, 10}) {
		t.Errorf("got %v", ids)
	}
	if after, _ := json.Marshal(params); !bytes.Equal(before, after) || len(filter) != 2 {
		t.Errorf("the parameters were changed to %s", after)
	}
}

// TestList_Leaving: who leaves the loop causes no further call, and ranging
// again begins again.
func TestList_Leaving(t *testing.T) {
	c, asked := scripted(t, `{"result":[{"ID":1},{"ID":2}],"next":50}`)
	list := List[listed](context.Background(), c, "crm.deal.list", nil)
	if len(*asked) != 0 {
		t.Error("List calls before it is ranged over")
	}
	for range 2 {
		for range list {
			break
		}
	}
	if diff := cmp.Diff([]string{`{}`, `{}`}, *asked); diff != "" {
		t.Error(diff)
	}
}

// TestList_Again: a list that was read begins at its beginning again.
func TestList_Again(t *testing.T) {
	for _, opts := range [][]ListOption{nil, {ByID("ID")}} {
		pages := []string{`{"result":[{"ID":1}],"next":50}`, `{"result":[]}`}
		c, asked := scripted(t, append(pages, pages...)...)
		list := List[listed](context.Background(), c, "crm.deal.list", map[string]any{"filter": map[string]any{"A": 1}}, opts...)
		for range 2 {
			for _, err := range list {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(*asked) != 4 || (*asked)[0] != (*asked)[2] || (*asked)[1] != (*asked)[3] || (*asked)[0] == (*asked)[1] {
			t.Errorf("asked %q", *asked)
		}
	}
}

// TestList_Portal: both ways through the lists of a portal, whatever holds them.
func TestList_Portal(t *testing.T) {
	portal := pulltest.NewPortal()
	defer portal.Close()
	var items []any
	for i := range 120 {
		items = append(items, map[string]any{"id": fmt.Sprint(3*i + 1)})
	}
	c := mustNew(t, OAuth(portal.URL(), resttest.Static(portal.AccessToken())), WithHTTPClient(portal.HTTPClient()))
	for _, field := range []string{"", "items", "tasks", "orders"} {
		portal.Answer("some.list", pulltest.List{Items: items, Field: field})
		for _, by := range []struct {
			opts  []ListOption
			calls int
		}{{nil, 3}, {[]ListOption{ByID("ID")}, 4}} {
			before, n := portal.Stats().Calls, 0
			for item, err := range List[struct{ ID php.Int }](t.Context(), c, "some.list", nil, by.opts...) {
				if err != nil || int(item.ID) != 3*n+1 {
					t.Fatalf("item %d: %v, %v", n, item, err)
				}
				n++
			}
			if calls := portal.Stats().Calls - before; n != len(items) || calls != by.calls {
				t.Errorf("in %q: %d items in %d calls, want %d", field, n, calls, by.calls)
			}
		}
	}
}

// TestList_Refusals: an answer that leads nowhere, or for ever, is an error that
// says what is wrong with it, and so are wrong parameters, before any call.
func TestList_Refusals(t *testing.T) {
	id := []ListOption{ByID("ID")}
	for _, tt := range []struct {
		name   string
		params any
		opts   []ListOption
		answer string // "": no call
		calls  int
		want   string
	}{
		{"next that stays", nil, nil, `{"result":[{"ID":1}],"next":50}`, 2, "b24pull: crm.deal.list: the list does not go on: the page at 50 has 50 as the next one (HTTP 200)"},
		{"next that is 0", nil, nil, `{"result":[{"ID":1}],"next":0}`, 1, "b24pull: crm.deal.list: the list does not go on: the page at 0 has 0 as the next one (HTTP 200)"},
		{"a single item", nil, nil, `{"result":{"ID":"7","PHONE":[{"ID":1}]}}`, 1, "b24pull: crm.deal.list: want a list, or an object with one; the result's fields are ID, PHONE: name one by ItemsIn (HTTP 200)"},
		{"a field that is not there", nil, []ListOption{ItemsIn("orders")}, `{"result":{"items":[]}}`, 1, "b24pull: crm.deal.list: want a list, or an object with one; the result's fields are items: name one by ItemsIn (HTTP 200)"},
		{"a number", nil, nil, `{"result":5}`, 1, "b24pull: crm.deal.list: want a list, or an object with one, got a number (HTTP 200)"},
		{"items that are a text", nil, nil, `{"result":{"items":"s3cr3t"}}`, 1, "b24pull: crm.deal.list: want a list, or an object with one, got a string (HTTP 200)"},
		{"a filter that is ignored", nil, id, `{"result":[{"ID":1},{"ID":2}]}`, 2, "b24pull: crm.deal.list: the list does not go on: ID 1 stands behind 2; the method may not take this filter or order: list it without ByID (HTTP 200)"},
		{"an order that is ignored", nil, id, `{"result":[{"ID":2},{"ID":1}]}`, 1, "b24pull: crm.deal.list: the list does not go on: ID 1 stands behind 2; the method may not take this filter or order: list it without ByID (HTTP 200)"},
		{"items without an id", nil, id, `{"result":[{"TITLE":"s3cr3t"}]}`, 1, "b24pull: crm.deal.list: an item has no number as its ID; a select has to name that field (HTTP 200)"},
		{"an id that is no number", nil, id, `{"result":[{"ID":"s3cr3t"}]}`, 1, "b24pull: crm.deal.list: an item has no number as its ID; a select has to name that field (HTTP 200)"},
		{"an item of another type", nil, nil, `{"result":[{"ID":{}}]}`, 1, "b24pull: crm.deal.list: an item: b24pull: want an integer, got an object that is none"},
		{"the portal's error", nil, nil, `{"error":"ACCESS_DENIED","error_description":"no"}`, 1, "b24pull: crm.deal.list: ACCESS_DENIED: no (HTTP 200); ask the portal's administrator"},

		{"a start below 0", map[string]any{"start": -1}, nil, "", 0, "b24pull: List: crm.deal.list: the parameters: start: want a number from 0 on, or none; ByID is for what -1 is for"},
		{"a start that is none", map[string]any{"start": "x"}, nil, "", 0, "b24pull: List: crm.deal.list: the parameters: start: want a number from 0 on, or none; ByID is for what -1 is for"},
		{"a start of ByID", map[string]any{"start": 0}, id, "", 0, "b24pull: List: crm.deal.list: the parameters: start: leave it out, ByID sets it"},
		{"an order of ByID", map[string]any{"ORDER": map[string]any{"ID": "DESC"}}, id, "", 0, "b24pull: List: crm.deal.list: the parameters: order: leave it out, ByID sets it"},
		{"a filter that is a list", map[string]any{"filter": "x"}, id, "", 0, "b24pull: List: crm.deal.list: the parameters: filter: want an object"},
		{"a filter whose id is none", map[string]any{"filter": map[string]any{">ID": "x"}}, id, "", 0, "b24pull: List: crm.deal.list: the parameters: filter: of >ID: want a number"},
		{"both filters", map[string]any{"filter": 1, "FILTER": 2}, id, "", 0, "b24pull: List: crm.deal.list: the parameters: filter is there twice, in two letter cases"},
		{"a list as the parameters", []int{1}, nil, "", 0, "b24pull: List: crm.deal.list: the parameters: want what marshals to an object, got an array"},
		{"no field", nil, []ListOption{ByID("")}, "", 0, "b24pull: List: ByID: want the name of a field, like ID"},
		{"a condition as the field", nil, []ListOption{ByID(">ID")}, "", 0, "b24pull: List: ByID: want the name of a field, like ID"},
		{"no name", nil, []ListOption{ItemsIn("")}, "", 0, "b24pull: List: ItemsIn: want the name of a field of the result, like items"},
		{"no option", nil, []ListOption{nil}, "", 0, "b24pull: List: an option is nil"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, asked := scripted(t, tt.answer)
			_, err := collect(c, tt.params, tt.opts...)
			if fmt.Sprint(err) != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if len(*asked) != tt.calls {
				t.Errorf("%d calls, want %d", len(*asked), tt.calls)
			}
			if tt.answer != "" && !strings.Contains(tt.want, "an item:") && !errors.As(err, new(*APIError)) {
				t.Errorf("%T is no *APIError", err)
			}
		})
	}
	for err, want := range map[error]string{
		first(List[listed](t.Context(), nil, "crm.deal.list", nil)):                                                                    "b24pull: the Client was not made by New",
		first(List[listed](t.Context(), nil, "CRM.Deal.List!", nil)):                                                                   "b24pull: List: want a method's name in lower case, like crm.deal.list",
		first(List[listed](t.Context(), mustNew(t, Webhook("https://portal.example/rest/api/1/s3cr3tcode/")), "tasks.task.list", nil)): "b24pull: List: tasks.task.list: the newer REST (/rest/api/) has lists of another kind: use Call, or the address without /api",
	} {
		if fmt.Sprint(err) != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func first[T any](list func(func(T, error) bool)) (err error) {
	for _, err = range list {
		break
	}
	return err
}

// TestList_Bounded: a portal that says for ever that there is more, and has no
// item, is not asked for ever.
func TestList_Bounded(t *testing.T) {
	next := 0
	c := mustNew(t, OAuth("portal.example", resttest.Static("t")), WithLimiter(nil), WithHTTPClient(&http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		next += 50
		return resttest.JSONResponse(r, 200, fmt.Sprintf(`{"result":[],"next":%d}`, next)), nil
	})}))
	ids, err := collect(c, nil)
	if want := "b24pull: crm.deal.list: the list does not end: 100 pages in a row without an item (HTTP 200)"; len(ids) != 0 || fmt.Sprint(err) != want || next != 50*maxEmptyPages {
		t.Errorf("after %d: %v", next/50, err)
	}
}

// TestList_Limited: each page waits for the limiter, a page that the portal did
// not answer is asked for again, and a context that ends is the last error.
func TestList_Limited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := mustNew(t, OAuth("portal.example", resttest.Static("t")), WithRetry(Retry{Min: time.Second}), WithLimiter(NewLimiter(1, 0.1)), WithHTTPClient(&http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			if calls++; calls == 2 {
				return nil, io.ErrUnexpectedEOF
			}
			return resttest.JSONResponse(r, 200, fmt.Sprintf(`{"result":[{"ID":%d}],"next":%d}`, calls, calls*50)), nil
		})}))
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		began := time.Now()
		var at []time.Duration
		var last error
		for _, last = range List[listed](ctx, c, "crm.deal.list", nil) {
			at = append(at, time.Since(began).Round(time.Second))
		}
		want := []time.Duration{0, 20 * time.Second, 30 * time.Second, 30 * time.Second}
		if !slices.Equal(at, want) || !errors.Is(last, context.DeadlineExceeded) || calls != 4 {
			t.Errorf("at %v, %d calls, then %v", at, calls, last)
		}
	})
}
