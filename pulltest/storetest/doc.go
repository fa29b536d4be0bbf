// Package storetest tries out stores that were written for package oauth and
// package realtime: an oauth.TokenStore or a realtime.CursorStore in whatever
// database an application has. It says by the failures of a test what the
// interfaces ask for and the store does not do.
//
//	func TestStore(t *testing.T) {
//		folder := t.TempDir()
//		storetest.Tokens(t, func(t *testing.T) oauth.TokenStore {
//			store, err := mystore.Open(folder)
//			if err != nil {
//				t.Fatal(err)
//			}
//			return store
//		})
//	}
//
// The function opens the store. It is called several times, and each time what
// it returns keeps tokens in the same place, as several processes do; a store in
// memory is the same one each time. It may hold other tokens before: each check
// uses keys that nobody has used.
//
// [TokensOfProcesses] also has a process die that holds a lock.
//
// It takes seconds, and waits as long as a store takes to find out that a
// process has died. What a store does not do within a minute counts as not done.
package storetest
