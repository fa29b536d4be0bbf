package fleet

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/pace"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/oauth"
)

// maxBody bounds the body of whatever anybody sends.
const maxBody = 1 << 20

// Callback is where a portal posts to: the form of a user who installs or opens
// the application, and the events ONAPPINSTALL and ONAPPUNINSTALL. One address
// or several may lead here. It has [oauth.Tokens.Handle] do what the callback
// asks of the tokens, and the portal listened to that has one afterwards. Then
// next answers, which may read the form by r.FormValue; nil answers with 200
// and nothing. [InstallPage] is for forms that install.
//
// Anybody can post. No more than 1 MiB is read; how often the authorization
// server is asked is bounded by Tokens; what is refused is logged, at most once
// a second; and next must not take a user for somebody because of a form. What
// is refused is answered with the status of [StatusOf], and Retry-After where
// the same callback can come again.
//
// A portal that hangs up has installed the application all the same.
func (a *Application) Callback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		if err := a.take(r); err != nil {
			a.refuse(w, r, err, "")
			return
		}
		if next != nil {
			next.ServeHTTP(w, r)
		}
	})
}

// take does what a callback asks.
func (a *Application) take(r *http.Request) error {
	c, err := oauth.ParseCallback(r)
	if err != nil {
		return err
	}
	if err := a.tokens.Handle(r.Context(), c); err != nil {
		return err
	}
	a.fleet.opts.logger.Info("callback", "of", c)
	if c.Event == "" || c.Installed() || c.Uninstalled() {
		a.touch(context.WithoutCancel(r.Context()), c.MemberID, !c.Uninstalled())
	}
	return nil
}

// refuse answers with no more than a status, or with what the user is told; the
// log has the error.
func (a *Application) refuse(w http.ResponseWriter, r *http.Request, err error, told string) {
	a.refused.note(r.URL.Path, err)
	status := StatusOf(err)
	if wait := retryAfter(err); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)))
	}
	if told == "" {
		told = http.StatusText(status)
	}
	http.Error(w, told, status)
}

// StatusOf returns the HTTP status for what [oauth.ParseCallback],
// [oauth.ParseRedirect], [oauth.Tokens.Handle] or [oauth.Tokens.HandleCode] has
// returned:
//
//   - 200 for nil.
//   - 400 for what is no callback of a portal ([oauth.ErrCallback]).
//   - 403 for what is refused for good: the application_token is not the
//     portal's, the token of the callback is dead or the code too old
//     ([b24pull.ErrInvalidGrant]), the portal is not known
//     ([b24pull.ErrNoToken]), another user's token is in place
//     ([oauth.ErrOtherUser]).
//   - 503 for everything else, which may pass: too many callbacks at once
//     ([oauth.ErrBusy]), [oauth.ErrUndecided], an authorization server or a
//     token store that fails.
func StatusOf(err error) int {
	switch {
	case err == nil:
		return http.StatusOK
	case errors.Is(err, oauth.ErrCallback):
		return http.StatusBadRequest
	}
	for _, refusal := range []error{oauth.ErrApplicationToken, b24pull.ErrInvalidGrant, b24pull.ErrNoToken, oauth.ErrOtherUser, errUnknownPortal} {
		if errors.Is(err, refusal) {
			return http.StatusForbidden
		}
	}
	return http.StatusServiceUnavailable
}

// retryAfter is when the same callback can come again; 0 if that is of no use.
func retryAfter(err error) time.Duration {
	switch {
	case errors.Is(err, oauth.ErrUndecided):
		return time.Minute
	case errors.Is(err, oauth.ErrBusy):
		return 10 * time.Second
	}
	return 0
}

// InstallPage answers the form of a user who installs the application: with a
// page that tells the portal that the installation is finished
// (BX24.installFinish), as it has to be told.
func InstallPage() http.Handler {
	return page(`<!doctype html><title>Installed</title><p>Installed.
<script src="https://api.bitrix24.com/api/v1/"></script>
<script>BX24.init(function () { BX24.installFinish() })</script>`)
}

func page(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, text)
	})
}

// refusals log what was refused: anybody can cause any number of them.
type refusals struct {
	log *slog.Logger

	mu    sync.Mutex
	pace  pace.Pace
	count int // not told of yet
}

const (
	refusalsAtOnce = 20
	refusalsEvery  = time.Second
)

func (f *refusals) note(path string, err error) {
	f.mu.Lock()
	f.count++
	now := time.Now()
	f.pace.Burst, f.pace.Every = refusalsAtOnce, refusalsEvery
	if f.pace.Next().After(now) {
		f.mu.Unlock()
		return
	}
	f.pace.Note(now)
	count := f.count
	f.count = 0
	f.mu.Unlock()
	f.log.Warn("refused", "path", quote.Name(path), "count", count, "err", err)
}
