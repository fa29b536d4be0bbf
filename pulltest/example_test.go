package pulltest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// A program asks the portal for its config, as over REST, and hears over a
// websocket in text framing what the portal publishes.
func ExamplePortal() {
	portal := pulltest.NewPortal()
	defer portal.Close()

	resp, err := portal.HTTPClient().Get(portal.URL() + "/rest/pull.application.config.get?auth=" + portal.AccessToken())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	var config struct {
		Result struct {
			Server   struct{ Websocket_secure string }
			Channels struct{ Private struct{ ID string } }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&config); err != nil {
		fmt.Println(err)
		return
	}

	transport := portal.HTTPClient().Transport.(*http.Transport)
	dialer := websocket.Dialer{
		NetDialContext:  transport.DialContext,
		TLSClientConfig: transport.TLSClientConfig.Clone(),
	}
	id := url.QueryEscape(config.Result.Channels.Private.ID)
	ws, _, err := dialer.Dial(config.Result.Server.Websocket_secure+"?CHANNEL_ID="+id, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ws.Close()

	portal.Emit(pulltest.Message{Command: "order.changed", Params: map[string]int{"id": 7}})
	_, frame, err := ws.ReadMessage()
	if err != nil {
		fmt.Println(err)
		return
	}
	text := strings.TrimSuffix(strings.TrimPrefix(string(frame), "#!NGINXNMS!#"), "#!NGINXNME!#")
	var message struct {
		Text struct {
			Module_id, Command string
			Params             map[string]int
		}
	}
	if err := json.Unmarshal([]byte(text), &message); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(message.Text.Module_id, message.Text.Command, message.Text.Params)
	// Output:
	// application order.changed map[id:7]
}
