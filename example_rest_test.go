package b24pull_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/php"
	"github.com/b24pull/b24pull/pulltest"
)

// playPortal is a portal in memory that has 120 deals, and a client of it.
func playPortal() (*b24pull.Client, func()) {
	portal := pulltest.NewPortal()
	var deals []any
	for i := range 120 {
		deals = append(deals, map[string]any{"ID": fmt.Sprint(i + 1), "TITLE": fmt.Sprintf("deal %d", i+1)})
	}
	portal.Answer("crm.deal.list", pulltest.List{Items: deals})
	portal.Answer("crm.deal.get", map[string]string{"ID": "7", "CONTACT_ID": "3"})
	portal.Answer("crm.contact.get", map[string]string{"ID": "3", "NAME": "Ada"})
	client, err := b24pull.New(b24pull.Webhook(portal.Webhook()), b24pull.WithHTTPClient(portal.HTTPClient()))
	if err != nil {
		panic(err)
	}
	return client, portal.Close
}

// Every deal above 40, fifty a call, by the filter on the id: the portal counts
// nothing, and no deal is left out while others come and go.
func ExampleList() {
	client, done := playPortal() // b24pull.New(b24pull.Webhook(…)) in a program
	defer done()

	type deal struct {
		ID    php.Int `json:"ID"`
		Title string  `json:"TITLE"`
	}
	params := map[string]any{
		"filter": map[string]any{">ID": 40},
		"select": []string{"ID", "TITLE"},
	}
	n := 0
	for d, err := range b24pull.List[deal](context.Background(), client, "crm.deal.list", params, b24pull.ByID("ID")) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if n++; d.ID%40 == 0 {
			fmt.Println(d.ID, d.Title)
		}
	}
	fmt.Println(n, "deals")
	// Output:
	// 80 deal 80
	// 120 deal 120
	// 80 deals
}

// The contact of a deal by one call: the second command refers to what the
// first has come to. Each command has an error of its own.
func ExampleClient_Batch() {
	client, done := playPortal() // b24pull.New(b24pull.Webhook(…)) in a program
	defer done()

	results, err := client.Batch(context.Background(), []b24pull.Command{
		{Key: "deal", Method: "crm.deal.get", Params: map[string]any{"ID": 7}},
		{Key: "contact", Method: "crm.contact.get", Params: map[string]any{"ID": "$result[deal][CONTACT_ID]"}},
		{Method: "crm.deal.gte", Params: map[string]any{"ID": 8}},
	})
	if err != nil {
		fmt.Println(err) // of the whole: nothing is known of the commands
		return
	}
	var contact struct{ NAME string }
	if err := results[1].Decode(&contact); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(contact.NAME)
	for _, r := range results {
		var refused *b24pull.APIError
		if errors.As(r.Err, &refused) {
			fmt.Println(r.Method, refused.Code, b24pull.ClassOf(r.Err))
		}
	}
	// Output:
	// Ada
	// crm.deal.gte ERROR_METHOD_NOT_FOUND final
}
