package transport

// Close codes that a client sends, as the official one has them.
const (
	CloseNormal   = 1000
	CloseReplaced = 3000 // there is another config
	CloseStuck    = 3005 // a ping was not answered
)

// Close codes of push servers that are more than a lost connection. Those of a
// version 4 server are its own, 4010 and 4036 those of newer ones.
const (
	CloseWrongChannel       = 4010 // the server does not know the channel
	ClosePublicIDRequired   = 4012 // it asks for a public channel id
	CloseNoChannels         = 4017
	CloseTooManyChannels    = 4018 // more than a hundred
	CloseInvalidChannel     = 4019
	CloseInvalidSignature   = 4021
	CloseTooManyConnections = 4029 // a new connection of these channels ends the oldest
	CloseWrongClientID      = 4036
)
