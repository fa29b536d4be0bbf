package control

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/b24pull/b24pull/pulltest"
)

// statistics are [pulltest.Stats] with names as in all JSON here.
type statistics map[string]int

func lookEndpoints() []endpoint {
	return []endpoint{
		look("stats", "Counters since the portal began, or was reset.", []string{"Stats"},
			func(_ context.Context, p *running, _ nothing) (statistics, error) { return counters(p.Stats()), nil }),
		look("config", "The result of pull.application.config.get as user 1 would get it now.", []string{"ConfigJSON"},
			func(_ context.Context, p *running, _ nothing) (json.RawMessage, error) {
				config := json.RawMessage(p.ConfigJSON())
				if !json.Valid(config) {
					return nil, refuse(http.StatusConflict, "no_config", "the portal gives no config now")
				}
				return config, nil
			}),
		look("push-notifications", "The push notifications that the application has sent, the oldest first.", []string{"PushNotifications"},
			func(_ context.Context, p *running, _ nothing) ([]notification, error) {
				all := []notification{}
				for _, n := range p.PushNotifications() {
					all = append(all, notification(n))
				}
				return all, nil
			}),
		look("watched", "The tags that a user watches now.", []string{"Watched"},
			func(_ context.Context, p *running, in user) (watched, error) {
				return watched{append([]string{}, p.Watched(in.User)...)}, nil
			}),
		look("subscribers", "The open connections of subscribers.", []string{"Subscribers"},
			func(_ context.Context, p *running, _ nothing) ([]pulltest.Subscriber, error) {
				return append([]pulltest.Subscriber{}, p.Subscribers()...), nil
			}),
		look("log", "What has happened, by number.", nil, readJournal(false)),
		look("messages", "The same, of messages only: published and delivered.", nil, readJournal(true)),
	}
}

type notification struct {
	Users  []int  `json:"users"`
	Text   string `json:"text"`
	Avatar string `json:"avatar" doc:"A URL."`
}

type watched struct {
	Tags []string `json:"tags" doc:"In alphabetical order."`
}
