package pulltest_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/pulltest"
)

type publicChannel struct {
	UserID    int     `json:"user_id"`
	PublicID  *string `json:"public_id"`
	Signature string  `json:"signature"`
	Start     string  `json:"start"`
	End       string  `json:"end"`
}

// askPublic calls a method of public channels with the token of user 1.
func askPublic(t *testing.T, p *pulltest.Portal, method string, sent params, into any) {
	t.Helper()
	sent["auth"] = p.AccessToken()
	status, a := call(t, p, p.URL()+"/rest/pull.channel.public."+method, sent)
	if err := json.Unmarshal(a.Result, into); status != 200 || err != nil {
		t.Fatalf("%d %s: %v", status, a.Error, err)
	}
}

// publicID is the application's of a user.
func publicID(t *testing.T, p *pulltest.Portal, user int) string {
	t.Helper()
	var c publicChannel
	askPublic(t, p, "get", params{"USER_ID": user, "APPLICATION": "Y"}, &c)
	return *c.PublicID
}

// TestPublic_Channels: both configs have the calling user's on the portal; those
// of others and the application's are to be asked for.
func TestPublic_Channels(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		type config struct {
			configChannels
			PublicChannels map[string]publicChannel
		}
		var application, portal config
		_, a := call(t, p, p.Webhook()+"pull.config.get", params{})
		for into, data := range map[*config][]byte{&application: p.ConfigJSON(), &portal: a.Result} {
			if err := json.Unmarshal(data, into); err != nil {
				t.Fatal(err)
			}
		}
		var ofPortal, ofApplication map[string]publicChannel
		askPublic(t, p, "list", params{"USERS": []int{2, 1, 99}}, &ofPortal)
		askPublic(t, p, "list", params{"USERS": []int{2, 1, 99}, "APPLICATION": "Y"}, &ofApplication)
		own := map[string]publicChannel{"1": ofPortal["1"]}
		if len(ofPortal) != 2 || cmp.Diff(own, application.PublicChannels) != "" || cmp.Diff(own, portal.PublicChannels) != "" {
			t.Errorf("%d of the portal, in its config: %v, in the application's: %v", len(ofPortal),
				cmp.Equal(own, portal.PublicChannels), cmp.Equal(own, application.PublicChannels))
		}
		for user, list := range map[*config]map[string]publicChannel{&application: ofApplication, &portal: ofPortal} {
			if own := list["1"]; user.Channels["private"].PublicID != *own.PublicID+"."+own.Signature {
				t.Error("the private channel of the config has another public id")
			}
		}
		for _, user := range []string{"1", "2"} {
			if *ofApplication[user].PublicID == *ofPortal[user].PublicID {
				t.Errorf("user %s has one channel for both", user)
			}
		}
		var one publicChannel
		askPublic(t, p, "get", params{"USER_ID": 2, "APPLICATION": "Y"}, &one)
		if diff := cmp.Diff(ofApplication["2"], one); diff != "" {
			t.Error("asked for alone it is another one")
		}
	})
}

// TestPublic_UserWithoutChannel: he is listed all the same.
func TestPublic_UserWithoutChannel(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		p.Deactivate(2)
		var list map[string]publicChannel
		for _, sent := range []params{{"USERS": []int{2}}, {"USERS": []int{2}, "APPLICATION": "Y"}} {
			askPublic(t, p, "list", sent, &list)
			if c, listed := list["2"]; !listed || c.UserID != 2 || c.PublicID != nil || c.Start[:4] != "1970" {
				t.Errorf("listed %v: %+v", listed, c)
			}
		}
		p.Activate(2)
		askPublic(t, p, "list", params{"USERS": []int{2}}, &list)
		if list["2"].PublicID == nil {
			t.Error("active again, without a channel")
		}
	})
}

func TestPublic_NoneBelowVersion4(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		for _, method := range []string{"get", "list"} {
			status, a := call(t, p, p.Webhook()+"pull.channel.public."+method, params{"USER_ID": 1, "USERS": []int{1}})
			if status != 500 || a.Error != "SERVER_ERROR" {
				t.Errorf("%s: %d %s", method, status, a.Error)
			}
		}
	}, pulltest.WithVersion(3))
}
