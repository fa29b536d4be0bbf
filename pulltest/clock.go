package pulltest

import "time"

// clock is how far the portal and its push server are ahead of us.
type clock time.Duration

func (c clock) now() time.Time { return time.Now().Add(time.Duration(c)) }
