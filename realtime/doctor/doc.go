// Package doctor finds out what would keep a subscription of package realtime
// from working: at the portal, on the way to it and to its push server, and in
// the push server.
//
//	report := doctor.Check(ctx, client, doctor.WithEvents())
//	if err := report.Err(); err != nil {
//		log.Print(report)
//	}
//
// Each check passes, warns, fails or is skipped; what does not pass says why,
// and what to do. A check that fails names what keeps a subscription from
// working, one that warns what it works in spite of. `b24pull doctor` is this
// package as a command, and docs/doctor.md of this module's repository has a
// paragraph on each check.
//
// A Check takes seconds where something is kept in the channels' history, or
// events may be sent ([WithEvents]), and otherwise up to the 40 seconds after
// which a push server says that nothing has come; a minute at the most, and
// what [WithIdle] adds. It changes nothing on the portal, and sends nothing
// unless it is told to.
//
// No secret is in a report: no webhook code, token, channel id, signature or
// jwt, nor the user of a proxy. The addresses of the portal and of its push
// server are, and what their certificates say.
package doctor
