package doctor

import (
	"net/http"
	"time"

	"github.com/b24pull/b24pull"
)

// An Option changes what a Check does.
type Option func(*options)

type options struct {
	events     bool
	config     *b24pull.Config
	idle       time.Duration
	progress   func(Result)
	httpClient *http.Client
}

// WithEvents has events sent by the application and waited for: to its own
// channels only, with commands that begin with «doctor.» and a time to live of
// a day, as the portal gives all of them. Whatever listens for the application
// hears them, so it should leave alone what it does not know. A portal sends
// none for a webhook.
func WithEvents() Option { return func(o *options) { o.events = true } }

// WithConfig has the push server of a config checked that was obtained
// elsewhere. The client may be nil then; where it is not, it is checked as
// well.
func WithConfig(cfg *b24pull.Config) Option { return func(o *options) { o.config = cfg } }

// WithIdle has a websocket left alone for the time d at the end, to see whether
// something on the way ends what is silent. nginx does after a minute, other
// boxes after five.
func WithIdle(d time.Duration) Option { return func(o *options) { o.idle = d } }

// WithProgress has a function told each result as soon as it is there, in the
// order of the report and from one goroutine.
func WithProgress(told func(Result)) Option { return func(o *options) { o.progress = told } }

// WithHTTPClient sets the HTTP client that the push server is reached with. The
// default is the Client's own, as in package realtime.
func WithHTTPClient(c *http.Client) Option { return func(o *options) { o.httpClient = c } }
