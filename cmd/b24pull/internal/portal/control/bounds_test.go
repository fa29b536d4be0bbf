package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestBounds_Streams: those beyond the bound are refused.
func TestBounds_Streams(t *testing.T) {
	a := newAPI(t)
	a.portal().streams.Store(mostStreams)
	if got := a.do("GET", "/v1/portals/main/events", ""); got.status != 503 || got.code() != "too_many" {
		t.Errorf("one stream more: %d %s", got.status, got.body)
	}
	if n := a.portal().streams.Load(); n != mostStreams {
		t.Errorf("then there are %d streams", n)
	}
}

// TestBounds_Portals: those that are being started count, too.
func TestBounds_Portals(t *testing.T) {
	a := newAPI(t)
	a.portals.mu.Lock()
	for i := range MostPortals - 1 {
		a.portals.begun[fmt.Sprint("begun", i)] = true
	}
	a.portals.mu.Unlock()
	if got := a.do("POST", "/v1/portals", `{"name":"more"}`); got.status != 409 || got.code() != "too_many" {
		t.Errorf("one portal more: %d, code %q", got.status, got.code())
	}
}

// deadlined notes the time that is left for the request's body.
type deadlined struct {
	*httptest.ResponseRecorder
	readBy time.Time
}

func (d *deadlined) SetReadDeadline(at time.Time) error { d.readBy = at; return nil }

// TestBounds_Time: a body must come within a minute.
func TestBounds_Time(t *testing.T) {
	portals := NewPortals(nil, nil)
	defer portals.Close()
	w := &deadlined{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("POST", "http://localhost/v1/portals/none/emit", strings.NewReader("{}"))
	before := time.Now()
	New(portals, nil, func(missing http.Handler) http.Handler { return missing }).ServeHTTP(w, r)
	if w.readBy.Before(before) || w.readBy.After(time.Now().Add(bodyPatience)) {
		t.Errorf("the body may take until %v", w.readBy)
	}
}

// TestReset_Answers: what a portal was made with is there after a reset.
func TestReset_Answers(t *testing.T) {
	a := newAPI(t, Spec{Name: "shop", Answers: map[string]json.RawMessage{"crm.deal.get": json.RawMessage("7")}})
	p, err := a.portals.get("shop")
	if err != nil {
		t.Fatal(err)
	}
	answers := func() bool { return strings.HasPrefix(callREST(t, p, "crm.deal.get"), `{"result":7,`) }
	before := answers()
	if got := a.do("POST", "/v1/portals/shop/reset", ""); got.status != 200 {
		t.Fatalf("reset: %d", got.status)
	}
	if after := answers(); !before || !after {
		t.Errorf("the method answers: %t, and after a reset %t", before, after)
	}
}
